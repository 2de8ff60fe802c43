from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import fields
from pathlib import Path

import pytest

from core.types import JobReport
from tests.cli.conftest import Cli
from tests.jobs.recordings import SHORT, SHORT_TEXT, cut_off, joined, silence
from tests.spoken import MAX_WER, transcripts, word_errors

pytestmark = pytest.mark.usefixtures("tiny_en")

REPORT_KEYS = {
    "audio_s",
    "speech_s",
    "load_s",
    "elapsed_s",
    "decode_s",
    "vad_s",
    "transcribe_s",
    "speed",
    "model",
    "language",
    "devices",
    "segments",
    "windows",
    "dropped_spans",
    "gaps",
    "redecoded_windows",
}
"""Those the issue names; there may be more."""


def test_subtitles_lie_beside_the_recording_and_nothing_else_is_left(
    cli: Cli, here: Path, tmp_path: Path
) -> None:
    recording = tmp_path / "talk.flac"
    shutil.copy(SHORT, recording)
    (tmp_path / "talk.srt").write_text("old")
    done = cli("transcribe", recording, "--formats", "srt,txt")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "talk.srt"), str(tmp_path / "talk.txt")]
    text = (tmp_path / "talk.txt").read_text()
    assert word_errors(SHORT_TEXT, text).wer <= 0.5
    assert text.split()[-1] in (tmp_path / "talk.srt").read_text()
    assert re.search(r"talk\.flac: 0:02 in \d+:\d\d \(", done.stderr)
    assert re.search(r"\d subtitles?, English, tiny\.en", done.stderr)
    assert "Complete! 1 segments | Speed: " in done.stderr
    assert os.listdir(here) == []
    assert list((tmp_path / "tmp").glob("*whisper*")) == []
    assert {path.name for path in tmp_path.iterdir()} == {
        *("here", "tmp", "talk.flac", "talk.srt", "talk.txt")
    }


def test_the_report_says_where_the_time_went(cli: Cli, here: Path) -> None:
    done = cli("transcribe", SHORT, "--output-dir", "out", "--report", "report.json")
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(here)) == ["out", "report.json"]
    report = json.loads((here / "report.json").read_text())
    assert report.keys() >= REPORT_KEYS | {field.name for field in fields(JobReport)}
    assert (report["input"], report["state"]) == (str(SHORT), "complete")
    assert report["speed"] == pytest.approx(report["audio_s"] / report["elapsed_s"], rel=0.01)
    assert report["load_s"] > 0.0
    assert report["segments"][0].keys() >= {"start_s", "end_s", "windows", "device"}
    assert report["outputs"] == ["out/LJ001-0002.srt"]


def test_several_files_share_the_loaded_model_and_fail_alone(
    cli: Cli, here: Path, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        (here / folder).mkdir()
        shutil.copy(SHORT, here / folder / "talk.flac")
    (here / "bad.mp4").write_text("no media")
    files = ["a/talk.flac", "gone.wav", "bad.mp4", "b/talk.flac"]
    done = cli("transcribe", *files, "--output-dir", "out", "--report", "r.json")
    assert done.returncode == 2
    assert sorted(done.stdout.splitlines()) == ["out/talk-2.srt", "out/talk.srt"]
    texts = [(here / "out" / name).read_text() for name in ("talk.srt", "talk-2.srt")]
    assert texts[0] == texts[1] != ""
    assert "error: gone.wav does not exist.\n       Check the path" in done.stderr
    told = [line for line in done.stderr.splitlines() if "bad.mp4 is not an audio" in line]
    assert len(told) == 1, "a failure is told once, by the command and not by the log as well"
    assert told[0].startswith("error: ")
    assert "4 of 4 recordings: 2 complete, 2 failed; 0:04 of audio in" in done.stderr
    assert done.stderr.count("Loading Whisper model: tiny.en on cpu") == 1
    reports = json.loads((here / "r.json").read_text())
    assert [entry["input"] for entry in reports] == files
    assert [entry["state"] for entry in reports] == ["complete", "failed", "failed", "complete"]
    assert reports[1]["error"] == "gone.wav does not exist."
    assert reports[0]["load_s"] > 0.0 == reports[3]["load_s"]


def test_silence_is_complete_and_says_so(cli: Cli, here: Path) -> None:
    silence(here / "quiet.wav")
    done = cli("transcribe", "quiet.wav", "--formats", "srt,vtt")
    assert done.returncode == 0, done.stderr
    assert "quiet.wav: No speech was found in the recording." in done.stderr
    assert (here / "quiet.srt").read_text() == ""
    assert (here / "quiet.vtt").read_text().startswith("WEBVTT")


def test_gaps_are_told_and_have_their_own_exit_code(cli: Cli, here: Path) -> None:
    cut_off(here / "cut.wav", 4.0)
    done = cli("transcribe", "cut.wav", "--quiet", "--report", "r.json")
    assert done.returncode == 3
    assert done.stdout == ""
    assert "cut.wav: Finished with 1 gap: " in done.stderr
    assert "  no text 0:04-0:" in done.stderr
    report = json.loads((here / "r.json").read_text())
    assert report["state"] == "complete_with_gaps"
    (gap,) = report["gaps"]
    assert gap.keys() == {"start", "end", "reason"}
    assert gap["start"] == pytest.approx(4.0, abs=0.5)


def test_words_without_times_still_make_subtitles(cli: Cli, here: Path) -> None:
    joined(here / "a.wav")
    done = cli("transcribe", "a.wav", "--no-word-timestamps", "--formats", "srt,txt,json")
    assert done.returncode == 0, done.stderr
    segments = json.loads((here / "a.json").read_text())["segments"]
    assert {len(segment["words"]) for segment in segments} == {0}
    truth = " ".join(text for _, text in transcripts())
    assert word_errors(truth, (here / "a.txt").read_text()).wer <= MAX_WER
    assert "-->" in (here / "a.srt").read_text()


def test_a_full_disk_is_a_failure_of_the_machine(cli: Cli, here: Path, full_disk: Path) -> None:
    joined(here / "a.wav")
    disk = str(full_disk)
    done = cli("transcribe", "a.wav", WHISPER_DATA_DIR=disk, WHISPER_MIN_FREE_MIB="0")
    assert done.returncode == 1
    assert "error: a.wav: There is no space left" in done.stderr
    assert "larger disk" in done.stderr


def test_a_name_cannot_write_on_the_terminal(cli: Cli, here: Path) -> None:
    name = "a\x1b[31m\nb.flac"
    shutil.copy(SHORT, here / name)
    done = cli("transcribe", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "a\\x1b[31m\\nb.srt\n"
    assert "\x1b" not in done.stderr
    assert (here / "a\x1b[31m\nb.srt").exists()
