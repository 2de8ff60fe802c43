"""A Docker engine: images, containers and their files, by the command line that users have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
"""Whom this machine trusts, its package mirror's authority included."""


class Engine:
    """Raises RuntimeError, with what Docker said, where a command fails."""

    def __init__(self, program: str) -> None:
        self._program = program

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
            [self._program, *arguments],
            env={**os.environ, "DOCKER_BUILDKIT": "1"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        if done.returncode:
            raise RuntimeError(f"docker {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def build(self, folder: Path, tag: str, target: str, base: str, secrets: Path) -> None:
        """The project's own Dockerfile, with this machine's way to its packages."""
        self.run(
            "build",
            "--network=host",
            f"--build-arg=BASE_IMAGE={base}",
            f"--secret=id=pip,src={_pip_settings(secrets)}",
            f"--secret=id=ca,src={AUTHORITIES}",
            f"--secret=id=apt,src={_apt_sources(secrets)}",
            f"--target={target}",
            f"--tag={tag}",
            str(folder),
        )

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("inspect", name))[0]
        return found

    def logs(self, container: str) -> str:
        done = subprocess.run(
            [self._program, "logs", container],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        return done.stdout


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
    file = folder / "pip.conf"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    file.chmod(0o600)
    return file


def _apt_sources(folder: Path) -> Path:
    """Where this machine's apt gets Debian's packages, for another one."""
    told = "deb $(REPO_URI) $(CODENAME) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", told, "Created-By: Packages"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line for line in listed.splitlines() if "/debian/ bookworm main" in line]
    file = folder / "sources.list"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    file.chmod(0o600)
    return file
