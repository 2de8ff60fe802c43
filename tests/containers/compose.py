"""Docker Compose, by whichever of its two programs is here, with a project of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.containers.engine import ROOT, own_name


class Compose:
    """The project's own docker-compose.yml.

    Args:
        folder: for a file in place of ``.env``.
        files: further files, which change the first.
        profiles: of Compose.
        variables: what that file says.

    Raises RuntimeError, with what Compose said, where a command fails.
    """

    def __init__(
        self,
        folder: Path,
        *files: Path,
        profiles: tuple[str, ...] = (),
        **variables: str,
    ) -> None:
        self.project = own_name()
        self.container = f"{self.project}-app"
        # Any free port of this machine alone.
        own = {"WHISPER_CONTAINER": self.container, "WHISPER_PORT": "127.0.0.1:0"}
        settings = folder / f"{self.project}.env"
        lines = [f"{name}={value}\n" for name, value in {**own, **variables}.items()]
        settings.write_text("".join(lines), encoding="utf-8")
        self._command = [*program(), "--env-file", str(settings), "--project-name", self.project]
        for file in (ROOT / "docker-compose.yml", *files):
            self._command += ["--file", str(file)]
        for profile in profiles:
            self._command += ["--profile", profile]
        # The shell's would go before the file's.
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WHISPER_", "COMPOSE_", "DATABASE_URL"))
        }

    def run(self, *arguments: str, stdin: str = "") -> str:
        """What the command wrote to its standard output."""
        done = subprocess.run(
            [*self._command, *arguments],
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        if done.returncode:
            raise RuntimeError(f"compose {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout

    def up(self, *services: str) -> None:
        """Start them, or all that the profiles name, from images that are there."""
        self.run("up", "--detach", "--no-build", *services)

    def inside(self, *command: str, stdin: str = "") -> str:
        """A command in the app's container, as operators give it."""
        return self.run("exec", "-T", "whisper-for-subs", *command, stdin=stdin)

    def down(self) -> None:
        self.run("down", "--volumes", "--timeout", "60")


def program() -> list[str]:
    """How Compose is called here; empty where it is not."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        if subprocess.run([*command, "version"], capture_output=True).returncode == 0:
            return command
    return []
