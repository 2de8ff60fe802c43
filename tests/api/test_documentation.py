"""docs/api.md does what it says: every block of code is run, in order, against a running app."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.apps import App, running_app
from tests.code_blocks import CodeBlock, code_blocks
from tests.jobs.recordings import SHORT
from tests.waiting import PATIENCE_S

ADDRESS = "http://127.0.0.1:7860"
"""Of the service on the page."""

Verified = Callable[[Mapping[str, str], bytes, str], bool]


def verified_of_the_page(root: Path) -> Verified:
    """The function that the page gives to receivers."""
    (block,) = (b for b in code_blocks(root / "docs" / "api.md", "python") if "hmac" in b.text)
    names: dict[str, Any] = {}
    exec(compile(block.text, str(block), "exec"), names)
    found: Verified = names["verified"]
    return found


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[App]:
    with running_app(tmp_path_factory.mktemp("app"), WHISPER_WORKERS="1") as app:
        yield app


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def of(app: App, blocks: list[CodeBlock]) -> str:
    return "\n".join(block.text for block in blocks).replace(ADDRESS, app.url)


@pytest.mark.process
def test_every_block_of_the_page_works(app: App, root: Path, base: Path, tmp_path: Path) -> None:
    if not (shutil.which("curl") and shutil.which("jq")):
        pytest.skip("no curl or jq here")
    blocks = code_blocks(root / "docs" / "api.md")
    assert {block.language for block in blocks} == {"bash", "python", "json"}
    shutil.copy(SHORT, tmp_path / "talk.mp4")
    shell = of(app, [block for block in blocks if block.language == "bash"])
    # A command that fails, or is refused, fails the block.
    shell = shell.replace("curl -sS", "curl --fail -sS")
    said = run(["bash", "-euo", "pipefail", "-c", shell], tmp_path)
    assert "event: end" in said
    assert (tmp_path / "talk.txt").read_text()
    *_, first, second = said.split()
    assert first.endswith(second), "a request that is sent again makes no second job"
    printed = {}
    for block in (block for block in blocks if block.language == "python"):
        printed[block.line] = run([sys.executable, "-c", of(app, [block])], tmp_path)
    events = next(b.line for b in blocks if b.language == "python" and "/events" in b.text)
    assert "/files/srt" in printed[events]
    for block in (block for block in blocks if block.language == "json"):
        json.loads(block.text)


def test_the_pages_verification_refuses_what_is_forged_or_old(root: Path) -> None:
    verified = verified_of_the_page(root)

    def call(timestamp: float) -> dict[str, str]:
        text = f"{int(timestamp)}.body".encode()
        signature = hmac.new(b"secret", text, hashlib.sha256).hexdigest()
        return {
            "X-Whisper-Timestamp": str(int(timestamp)),
            "X-Whisper-Signature": f"sha256={signature}",
        }

    now = time.time()
    assert verified(call(now), b"body", "secret")
    assert not verified(call(now), b"other", "secret")
    assert not verified(call(now), b"body", "another")
    assert not verified(call(now - 3600), b"body", "secret")
