from __future__ import annotations

import shutil

import pytest


def program(name: str) -> str:
    """Where a program of Prometheus is; skips where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here (Debian's package prometheus; make test installs it)")
    return found


@pytest.fixture(scope="session")
def promtool() -> str:
    return program("promtool")


@pytest.fixture(scope="session")
def prometheus() -> str:
    return program("prometheus")
