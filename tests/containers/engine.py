"""A Docker engine: images, containers and their files, by the command line that users have."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
"""Whom this machine trusts, its package mirror's authority included."""

PREFIX = "whisper-for-subs-tests"
"""Begins the name of everything that tests make. The process that made it follows."""

_numbers = itertools.count()


def own_name() -> str:
    """A new name for a container, a volume or a project of this process."""
    return f"{PREFIX}-{os.getpid()}-{next(_numbers)}"


class Engine:
    """Raises RuntimeError, with what Docker said, where a command fails.

    Args:
        host: address of another engine than the machine's own.
    """

    def __init__(self, program: str, host: str = "") -> None:
        self.program = program
        self._command = (program, "--host", host) if host else (program,)

    @classmethod
    def found(cls) -> Engine | None:
        """One that runs and builds with secrets; the first program of that name may lack a plugin
        that an older one does not need."""
        programs = {shutil.which("docker"), "/usr/bin/docker"}
        for program in sorted(each for each in programs if each and Path(each).exists()):
            engine = cls(program)
            try:
                engine.run("info")
                if "--secret" in engine.run("build", "--help"):
                    return engine
            except RuntimeError:
                continue
        return None

    def run(self, *arguments: str, timeout_s: float = 1800.0) -> str:
        """What the command wrote to its standard output."""
        done = subprocess.run(
            [*self._command, *arguments],
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def build(self, folder: Path, tag: str, base: str, secrets: Path, *options: str) -> None:
        """From the folder's Dockerfile, with this machine's way to its packages. What had the tag
        before goes, unless a container needs it."""
        self.run(
            "build",
            "--network=host",
            f"--label={PREFIX}",
            f"--build-arg=BASE_IMAGE={base}",
            f"--secret=id=pip,src={_pip_settings(secrets)}",
            f"--secret=id=ca,src={AUTHORITIES}",
            f"--secret=id=apt,src={_apt_sources(secrets)}",
            *options,
            f"--tag={tag}",
            str(folder),
        )
        self.run("image", "prune", "--force", f"--filter=label={PREFIX}")

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("inspect", name))[0]
        return found

    def logs(self, container: str) -> str:
        done = subprocess.run(
            [*self._command, "logs", container],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        return done.stdout

    def sweep(self, made_by: Callable[[int], bool]) -> None:
        """Remove the containers, networks and volumes of such test processes."""
        for kind, name, remove in (
            (("ps", "--all"), "{{.Names}}", ("rm", "--force", "--volumes")),
            (("network", "ls"), "{{.Name}}", ("network", "rm")),
            (("volume", "ls"), "{{.Name}}", ("volume", "rm", "--force")),
        ):
            for each in self.run(*kind, "--format", name).split():
                found = re.match(rf"{PREFIX}-(\d+)-", each)
                if found and made_by(int(found[1])):
                    self.run(*remove, each)


def _pip_settings(folder: Path) -> Path:
    """Where this machine's pip gets its packages, as a configuration for another one."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    lines = ["[global]", f"cert = {AUTHORITIES}"]
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        if option in ("index-url", "extra-index-url", "trusted-host", "proxy"):
            lines.append(f"{option} = {value.strip(chr(39))}")
    return _private(folder / "pip.conf", lines)


def _apt_sources(folder: Path) -> Path:
    """Where this machine's apt gets Debian's packages, for the base image's Debian."""
    told = "deb $(REPO_URI) $(CODENAME) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", told, "Created-By: Packages"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line for line in listed.splitlines() if line.endswith("/debian/ bookworm main")]
    return _private(folder / "sources.list", lines)


def _private(file: Path, lines: list[str]) -> Path:
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    file.chmod(0o600)
    return file
