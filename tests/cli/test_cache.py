"""A command goes on where an earlier one was: after a kill, with other formats, side by side."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.test_terminal import processes_of
from tests.jobs.recordings import SHORT, joined
from tests.waiting import PATIENCE_S, eventually

ONE_BY_ONE = ("--min-segment", "4", "--max-segment", "10", "--batch-size", "1")
"""Several segments a minute, each finished before the next begins."""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", "transcribe", *arguments]


def entries(cache: Path) -> list[Path]:
    """What is kept, drafts aside."""
    return [p for p in cache.glob("whisper-for-subs/segments/*") if not p.name.startswith(".")]


def report(here: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((here / "r.json").read_text())
    return found


def replayed(here: Path) -> tuple[int, int]:
    """Segments of the last command that were done before, and all."""
    return report(here)["replayed_segments"], len(report(here)["segments"])


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.usefixtures("tiny_en")
def test_a_killed_command_goes_on_where_it_was_to_the_same_bytes(
    cli: Cli, environment: dict[str, str], here: Path, cache: Path
) -> None:
    joined(here / "a.wav")
    options = ("a.wav", *ONE_BY_ONE, "--formats", "srt,json", "--report", "r.json")
    with subprocess.Popen(
        command(*options, "--output-dir", "out"),
        cwd=here, env=environment, stderr=subprocess.DEVNULL, start_new_session=True,
    ) as process:  # fmt: skip
        eventually(lambda: bool(entries(cache)), "a segment is finished and kept")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
    eventually(lambda: not processes_of(process.pid), "no process is left")
    assert sorted(os.listdir(here)) == ["a.wav"]
    before = len(entries(cache))

    done = cli("transcribe", *options, "--output-dir", "out")

    assert done.returncode == 0, done.stderr
    count, total = replayed(here)
    assert 0 < count == before < total
    assert f"a.wav: {count} of {total} segments were done before" in done.stderr
    assert done.stderr.count("Processing segment") == total - count
    undisturbed = cli("transcribe", *options, "--output-dir", "undisturbed", "--no-cache")
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert replayed(here) == (0, total)
    assert "done before" not in undisturbed.stderr
    assert written(here / "out") == written(here / "undisturbed")


def test_other_formats_names_and_folders_cost_no_decoding_and_keep_the_language(
    cli: Cli, here: Path, cache: Path, base: Path
) -> None:
    """With a model that hears the language, which is kept as well."""
    joined(here / "a.wav", clips=4)
    options = (*ONE_BY_ONE, "--model", "base", "--report", "r.json")
    assert cli("transcribe", "a.wav", *options).returncode == 0
    count, total = replayed(here)
    assert (count, total > 1) == (0, True)
    (here / "a.wav").rename(here / "b.wav")

    done = cli("transcribe", "b.wav", *options, "--formats", "srt,json", "--output-dir", "out")

    assert done.returncode == 0, done.stderr
    assert replayed(here) == (total, total)
    assert report(here)["language"] == "en"
    assert "Processing segment" not in done.stderr
    assert (here / "out" / "b.srt").read_bytes() == (here / "a.srt").read_bytes()
    plain = cli("transcribe", "b.wav", *options, "--formats", "json", "--no-cache")
    assert plain.returncode == 0, plain.stderr
    assert (here / "out" / "b.json").read_bytes() == (here / "b.json").read_bytes()


@pytest.mark.usefixtures("tiny_en")
def test_a_damaged_entry_is_made_again_to_the_same_bytes(cli: Cli, here: Path, cache: Path) -> None:
    joined(here / "a.wav", clips=4)
    options = ("a.wav", *ONE_BY_ONE, "--formats", "srt,json", "--report", "r.json")
    assert cli("transcribe", *options, "--output-dir", "one").returncode == 0
    victim = entries(cache)[0]
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2])
    done = cli("transcribe", *options, "--output-dir", "two")
    assert done.returncode == 0, done.stderr
    count, total = replayed(here)
    assert count == total - 1
    assert "cannot be read and is made again" in done.stderr
    assert written(here / "one") == written(here / "two")
    assert cli("transcribe", *options).returncode == 0
    assert replayed(here) == (total, total)


@pytest.mark.usefixtures("tiny_en")
def test_two_commands_at_once_share_the_cache(
    cli: Cli, environment: dict[str, str], here: Path, cache: Path
) -> None:
    joined(here / "a.wav", clips=4)
    both = [
        subprocess.Popen(
            command("a.wav", *ONE_BY_ONE, "--output-dir", name),
            cwd=here, env=environment, stderr=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    told = [process.communicate(timeout=PATIENCE_S)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert not [line for text in told for line in text.splitlines() if "cache" in line]
    assert written(here / "one") == written(here / "two")
    done = cli("transcribe", "a.wav", *ONE_BY_ONE, "--report", "r.json")
    assert done.returncode == 0, done.stderr
    count, total = replayed(here)
    assert count == total == len(entries(cache))
    assert written(here / "one")["a.srt"] == (here / "a.srt").read_bytes()


@pytest.mark.usefixtures("tiny_en")
def test_without_a_cache_nothing_is_kept(cli: Cli, here: Path, cache: Path) -> None:
    shutil.copy(SHORT, here / "a.flac")
    assert cli("transcribe", "a.flac", "--no-cache").returncode == 0
    assert cli("transcribe", "a.flac", WHISPER_CACHE_MIB="0").returncode == 0
    assert list(cache.iterdir()) == []
    assert cli("transcribe", "a.flac").returncode == 0
    assert len(entries(cache)) == 1


@pytest.mark.usefixtures("tiny_en")
def test_a_cache_that_cannot_be_is_a_warning(cli: Cli, here: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = cli("transcribe", SHORT, "--output-dir", ".", XDG_CACHE_HOME=str(tmp_path / "file"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Warning: Finished segments are not kept, there is no cache") == 1
    assert (here / "LJ001-0002.srt").exists()
