"""Links on the command line, from a web server on this machine that the tests admit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.arguments import parser
from cli.links import Links
from cli.sources import Source, sources_of
from core.errors import InvalidOption
from core.settings import Settings
from jobs.links import FetchedRecording
from jobs.options import JobOptions
from jobs.request import JobRequest
from tests.cli.conftest import Cli
from tests.jobs.recordings import SHORT
from tests.link_server import LinkServer, serving
from tests.waiting import PATIENCE_S, eventually

SITES = {"WHISPER_DOWNLOAD_SITES": '["generic"]', "WHISPER_DOWNLOAD_NETWORKS": '["127.0.0.1"]'}


@pytest.fixture
def server() -> Iterator[LinkServer]:
    with serving() as server:
        yield server


def test_links_become_subtitles_like_files_do(
    cli: Cli, here: Path, tmp_path: Path, server: LinkServer, tiny_en: Path
) -> None:
    (here / "talk.srt").write_text("mine")
    urls = [f"{server.url}/talk.flac", f"{server.url}/gone.flac"]
    links = [argument for url in urls for argument in ("--url", url)]
    done = cli("audio", *links, "--input", SHORT, "--output-dir", ".", "--report", "r.json",
        "--model", "tiny.en", **SITES)  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stdout.splitlines() == ["LJ001-0002.srt", "talk-2.srt"]
    assert (here / "talk-2.srt").read_text() == (here / "LJ001-0002.srt").read_text() != ""
    # Nobody chose that name, so it replaces nothing.
    assert (here / "talk.srt").read_text() == "mine"
    assert f"error: {urls[1]}: There is nothing at this link.\n       Check" in done.stderr
    assert f"Fetching {urls[0]}" in done.stderr
    reports = json.loads((here / "r.json").read_text())
    assert [entry["input"] for entry in reports] == [str(SHORT), *urls]
    assert [entry["state"] for entry in reports] == ["complete", "complete", "failed"]
    assert sorted(os.listdir(here)) == ["LJ001-0002.srt", "r.json", "talk-2.srt", "talk.srt"]
    assert list((tmp_path / "tmp").glob("*whisper*")) == []


def test_ctrl_c_ends_a_download_and_leaves_nothing(
    environment: dict[str, str], here: Path, tmp_path: Path, server: LinkServer
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "audio", "--url", f"{server.url}/drip.flac"],
        cwd=here,
        env=environment | SITES,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # Once to see what it is, once to fetch it.
        eventually(lambda: len(server.seen) >= 2, "the download runs")
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Traceback" not in told
    assert list(here.iterdir()) == []
    assert list((tmp_path / "tmp").glob("*whisper*")) == []


def test_wrong_options_and_missing_gpus_are_told_before_anything_is_fetched(
    cli: Cli, server: LinkServer
) -> None:
    url = f"{server.url}/talk.flac"
    done = cli("audio", "--url", url, "--language", "Germann", **SITES)
    assert (done.returncode, "Did you mean 'german'?" in done.stderr) == (2, True)
    done = cli("gpu-transcribe", "--url", url, "--gpus", "99", **SITES)
    assert done.returncode == 1
    assert "`audio`" in done.stderr
    assert "`doctor`" in done.stderr
    assert server.seen == []


def test_a_link_among_the_files_is_taken_as_one() -> None:
    link = "https://www.youtube.com/watch?v=a//b"
    args = parser().parse_args(["transcribe", "a.wav", link, "b.wav", "--url", "http://c/"])
    files, links = sources_of(args)
    assert links == [link, "http://c/"]
    assert files == [Source(Path("a.wav")), Source(Path("b.wav"))]
    with pytest.raises(InvalidOption, match="No recording was given"):
        sources_of(parser().parse_args(["audio"]))


def test_the_optimized_script_runs_as_a_file_from_anywhere(
    environment: dict[str, str], here: Path, server: LinkServer, root: Path, tiny_en: Path
) -> None:
    environment.pop("PYTHONPATH")
    # What does not suit this machine is passed over, what is given is not.
    environment["WHISPER_COMPUTE_TYPE"] = "float16"
    script = [sys.executable, str(root / "cli" / "gpu_transcribe_optimized.py")]

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*script, *arguments], cwd=here, env=environment | SITES,
            capture_output=True, text=True, timeout=PATIENCE_S,
        )  # fmt: skip

    link = ("--url", f"{server.url}/talk.flac")
    done = run(*link, "--input", SHORT, "--output-dir", ".", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["LJ001-0002.srt", "talk.srt"]
    assert (here / "talk.srt").read_text() == (here / "LJ001-0002.srt").read_text() != ""
    done = run(*link, "--gpus", "99")
    assert (done.returncode, "`audio`" in done.stderr) == (1, True), done.stderr
    assert run(*link, "--device", "cpu", "--compute-type", "int7").returncode == 2


def test_the_calls_of_the_guides_parse_as_written() -> None:
    common = "--model medium --compute-type float16"
    for text in (f"gpu-transcribe --url URL {common}", f"gpu-transcribe --input FILE {common}"):
        args = parser().parse_args(text.split())
        assert (args.device, args.model, args.compute_type) == ("cuda", "medium", "float16")
        assert (args.urls, args.files) in ((["URL"], []), ([], [Path("FILE")]))
    for text in ("audio --url URL --model large", "audio --input FILE --model large"):
        args = parser().parse_args(text.split())
        assert (args.device, args.model) == ("cpu", "large")


class _Told:
    """Keeps what a display would show."""

    def __init__(self) -> None:
        self.lines: list[tuple[float | None, str]] = []

    def download(self, fraction: float | None, text: str) -> None:
        self.lines.append((fraction, text))

    def show(self, name: str, progress: object, place: str = "") -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...


def test_each_link_gets_a_name_that_is_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fetch_link(
        url: str, folder: Path, settings: Settings, *, progress: Callable[..., None], **_: object
    ) -> FetchedRecording:
        progress(0.5, f"Downloading {url}")
        return FetchedRecording(folder / "recording.webm", f"{url}.webm")

    monkeypatch.setattr("cli.links.fetch_link", fetch_link)
    (tmp_path / "notes.txt").touch()
    both = JobOptions(formats=("srt", "txt"))
    like = JobRequest(path=Path(), options=both, output_dir=tmp_path)
    file = JobRequest(path=Path("Talk.wav"), options=both, output_dir=tmp_path)
    told = _Told()
    links = Links(tmp_path, Settings(), like, [file], told, lambda: False)
    titles = ["talk", "talk", "notes", "Mr. B.", "-rf", ".."]
    requests = [links.fetch(title) for title in titles]
    assert [r.stem for r in requests] == ["talk-2", "talk-3", "notes-2", "Mr. B", "rf", "subtitles"]
    assert {(r.adopt, r.path) for r in requests} == {("move", tmp_path / "recording.webm")}
    assert told.lines[0] == (0.5, "Downloading talk")
