"""What CHANGELOG.md says of a release: ``python3 -m scripts.release_notes v1.2.0`` prints it.

The release workflow runs it before anything is built, with no package installed. So a tag that
names another version than pyproject.toml, or one without a section, publishes nothing.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def notes(tag: str, project: Path) -> str:
    """The section of a tag such as ``v1.2.0``, without its heading.

    Raises ValueError, with what to change, for a tag that is not the project's version or has no
    section.
    """
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    version = settings["project"]["version"]
    if tag != f"v{version}":
        raise ValueError(
            f"The tag is {tag}, but pyproject.toml has version {version}: "
            f"correct one of them and tag that commit as v{version}."
        )
    text = (project / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(
        rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    if section is None or not section[1].strip():
        raise ValueError(
            f"CHANGELOG.md has no notes under '## [{version}]': "
            "rename the section [Unreleased], and tag that commit."
        )
    return section[1].strip() + "\n"


if __name__ == "__main__":
    try:
        sys.stdout.write(notes(sys.argv[1], PROJECT))
    except ValueError as error:
        sys.exit(str(error))
