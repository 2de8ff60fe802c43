"""Many recordings in one command: folders, manifests, summaries, kills. The engine only says which
audio it got, so that each result can be told to be the right one."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cli.arguments import parser
from cli.options import common_request, requests_of, settings_of
from cli.sources import Source, sources_of
from core.errors import InvalidOption
from jobs.request import JobRequest
from tests.cli.conftest import Cli
from tests.cli.test_terminal import processes_of
from tests.jobs.recordings import SHORT, write_wav
from tests.waiting import PATIENCE_S, eventually

COUNT = 10


def given(*arguments: str | Path) -> Namespace:
    return parser().parse_args(["transcribe", *map(str, arguments)])


def requests(args: Namespace) -> list[JobRequest]:
    files, _ = sources_of(args)
    common = common_request(args, settings_of(args))
    return requests_of(files, common, beside=args.output_dir is None)


def recordings(folder: Path, count: int = COUNT) -> list[str]:
    """Short ones, each a little louder than the one before; their names."""
    folder.mkdir()
    sound, _ = soundfile.read(SHORT, dtype="int16")
    for number in range(count):
        louder = sound * (0.5 + 0.4 * number / count)
        write_wav(folder / f"{number:04}.wav", louder.astype(np.int16))
    return sorted(path.name for path in folder.iterdir())


def held_open(folder: Path) -> Path:
    """A last recording that says nothing until it is replaced: no command gets past it."""
    last = max(folder.iterdir())
    kept = last.rename(folder.parent / "kept")
    os.mkfifo(last)
    return kept


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bench.scripted_command", "transcribe", *arguments]


def run(
    environment: dict[str, str], here: Path, *arguments: str, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*arguments),
        cwd=here, env=environment, input=text, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


def subtitles(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.srt")}


def rows(summary: Path) -> list[dict[str, str]]:
    with summary.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("tiny_en")
def test_a_killed_command_goes_on_with_what_is_missing_and_every_result_is_right(
    environment: dict[str, str], here: Path
) -> None:
    names = recordings(here / "all")
    kept = held_open(here / "all")
    options = ("all", "--summary", "s.csv", "--skip-existing", "--no-cache", "--output-dir")
    with subprocess.Popen(
        command(*options, "out"),
        cwd=here, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:  # fmt: skip
        eventually(lambda: len(subtitles(here / "out")) >= 3, "three recordings are done")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
    eventually(lambda: not processes_of(process.pid), "no process is left")
    before = len(subtitles(here / "out"))
    kept.replace(here / "all" / names[-1])
    told = rows(here / "s.csv")
    assert all(row["state"] == "complete" for row in told[:-1])

    done = run(environment, here, *options, "out")

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == COUNT - before
    sums = f"{COUNT} of {COUNT} recordings: {COUNT - before} complete, {before} done before; "
    assert sums in done.stderr
    states = [row["state"] for row in sorted(rows(here / "s.csv"), key=lambda r: int(r["number"]))]
    assert states.count("done_before") == before
    assert len(states) == COUNT
    plain = run(environment, here, *options, "undisturbed")
    assert plain.returncode == 0, plain.stderr
    found = subtitles(here / "out")
    assert found == subtitles(here / "undisturbed")
    assert [Path(name).stem for name in sorted(found)] == [Path(name).stem for name in names]
    assert len(set(found.values())) == COUNT, "every recording has words of its own"


@pytest.mark.usefixtures("tiny_en")
def test_a_bad_file_stops_no_other_and_standard_input_may_be_the_manifest(
    environment: dict[str, str], here: Path
) -> None:
    names = recordings(here / "all", 3)
    (here / "all" / "bad.mp3").write_text("no media")
    lines = [f"all/{names[0]}", "", "all/bad.mp3", "gone.wav", f"all/{names[1]}"]
    lines.append(json.dumps({"path": f"all/{names[2]}", "name": "third", "formats": "srt,txt"}))
    options = ("--manifest", "-", "--output-dir", "out", "--summary", "s.csv", "--report", "r.json")
    done = run(environment, here, *options, text="\n".join(lines))
    assert done.returncode == 2
    assert sorted(os.listdir(here / "out")) == ["0000.srt", "0001.srt", "third.srt", "third.txt"]
    found = {row["input"]: row for row in rows(here / "s.csv")}
    assert [row["state"] for _, row in sorted(found.items())] == [
        *("complete", "complete", "complete", "failed", "failed"),
    ]
    assert found["gone.wav"]["error"] == "gone.wav does not exist."
    assert found[f"all/{names[2]}"]["outputs"] == "out/third.srt out/third.txt"
    report = json.loads((here / "r.json").read_text())
    assert [entry["input"] for entry in report] == [
        *(f"all/{names[0]}", "all/bad.mp3", "gone.wav"),
        *(f"all/{names[1]}", f"all/{names[2]}"),
    ]
    assert "5 of 5 recordings: 3 complete, 2 failed; " in done.stderr


@pytest.mark.usefixtures("tiny_en")
def test_an_interrupted_command_says_how_to_go_on(environment: dict[str, str], here: Path) -> None:
    recordings(here / "all", 3)
    held_open(here / "all")
    with subprocess.Popen(
        command("all", "--output-dir", "out"),
        cwd=here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() != ""
        os.kill(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert " of 3 recordings: " in told
    assert told.endswith("The same command with --skip-existing goes on.\nInterrupted.\n")
    eventually(lambda: not processes_of(process.pid), "no process is left")


def test_nothing_is_loaded_when_all_is_done(cli: Cli, here: Path) -> None:
    names = recordings(here / "all", 2)
    for name in names:
        (here / "all" / name).with_suffix(".srt").touch()
    done = cli("transcribe", "all", "--skip-existing", WHISPER_MODELS_DIR="none")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "2 of 2 recordings: 2 done before" in done.stderr


def test_a_recording_newer_than_its_subtitles_or_with_a_format_missing_is_not_done(
    tmp_path: Path,
) -> None:
    from cli.transcribe import _done_before

    recording, done = tmp_path / "a.wav", tmp_path / "a.srt"
    recording.touch()
    (one,) = requests(given(recording))
    (both,) = requests(given(recording, "--formats", "srt,txt"))
    assert not _done_before(one)
    done.touch()
    os.utime(recording, (100, 100))
    assert _done_before(one)
    assert not _done_before(both)
    os.utime(done, (99, 99))
    assert not _done_before(one)


def test_a_folder_gives_its_recordings_by_name_and_keeps_its_tree(tmp_path: Path) -> None:
    for name in ("b.mp3", "a.MKV", "notes.txt", ".hidden.wav", "sub/c.flac", ".git/d.wav"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = requests(given(tmp_path / "in", "--output-dir", "out"))
    assert [request.path.name for request in found] == ["a.MKV", "b.mp3", "c.flac"]
    assert [request.output_dir for request in found] == [
        *(Path("out"), Path("out"), Path("out/sub")),
    ]
    beside = requests(given(tmp_path / "in"))
    assert beside[2].output_dir == tmp_path / "in" / "sub"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidOption, match="no recording in the folder"):
        requests(given(tmp_path / "empty"))


def test_a_manifest_names_files_links_and_what_is_different(tmp_path: Path) -> None:
    manifest = tmp_path / "list.jsonl"
    lines = [
        b"a b.mp4\r",
        b"\xff.wav",
        b"https://example.org/a//b",
        b'{"path": "c.wav", "language": "de", "output_dir": "x", "beam_size": 2}',
    ]
    manifest.write_bytes(b"\n".join(lines))
    args = given("first.wav", "--manifest", manifest, "--language", "en")
    files, links = sources_of(args)
    assert links == ["https://example.org/a//b"]
    assert [os.fsencode(source.path) for source in files] == [
        *(b"first.wav", b"a b.mp4", b"\xff.wav", b"c.wav"),
    ]
    found = requests(args)
    assert [request.options.language for request in found] == ["en", "en", "en", "de"]
    assert (found[3].output_dir, found[3].options.beam_size) == (Path("x"), 2)
    assert found[1].options is found[2].options, "thousands share what they have in common"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"path": 3}', "Line 2 of .*: path must be a text"),
        ('{"path": "a.wav", "model": "base"}', "model is the same for all recordings"),
        ('{"path": "a.wav", "langage": "de"}', "There is no option 'langage'"),
        ('{"path": "a.wav", "name": "../a"}', "name must be a file's name"),
        ('{"path": ', "Line 2 of "),
    ],
)
def test_a_wrong_line_is_refused_before_anything_is_done(
    tmp_path: Path, line: str, message: str
) -> None:
    manifest = tmp_path / "list"
    manifest.write_text(f"a.wav\n{line}\n")
    with pytest.raises(InvalidOption, match=message):
        sources_of(given("--manifest", manifest))


def test_a_wrong_option_of_one_recording_names_it(tmp_path: Path) -> None:
    manifest = tmp_path / "list"
    manifest.write_text('{"path": "a.wav", "beam_size": 0}\n')
    with pytest.raises(InvalidOption, match=r"a\.wav in the manifest: .*beam_size"):
        requests(given("--manifest", manifest))


def test_sources_take_little_memory() -> None:
    assert not hasattr(Source(Path("a.wav")), "__dict__")
