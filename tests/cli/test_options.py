from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cli.arguments import parser
from cli.failures import EXIT_CODES, exit_code, worst
from cli.main import main
from cli.options import (
    build_settings,
    common_request,
    gpus_of,
    requests_of,
    settings_of,
    unique_stems,
)
from cli.sources import sources_of
from core import errors
from core.settings import Settings
from core.types import DecodeOptions, PlanOptions
from jobs.options import JobOptions
from jobs.request import JobRequest


def test_a_flag_goes_before_the_environment_before_the_file_before_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(Settings.model_config, "env_file", tmp_path / ".env")

    def beams(*flags: str) -> int:
        return settings_of(parser().parse_args(["transcribe", "x.wav", *flags])).beam_size

    assert beams() == 5
    (tmp_path / ".env").write_text("WHISPER_BEAM_SIZE=4\n")
    assert beams() == 4
    monkeypatch.setenv("WHISPER_BEAM_SIZE", "3")
    assert beams() == 3
    assert beams("--beam-size", "2") == 2


def test_a_folder_of_recordings_cannot_change_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("WHISPER_BEAM_SIZE=4\n")
    monkeypatch.chdir(tmp_path)
    assert Settings().beam_size == 5


def requests(args: Namespace, settings: Settings) -> list[JobRequest]:
    """Of the files that a command line names."""
    files, _ = sources_of(args)
    return requests_of(files, common_request(args, settings), beside=args.output_dir is None)


def test_every_option_arrives() -> None:
    text = """transcribe a.mkv --model m --language zh --task translate --formats vtt,srt
        --output-dir out --device cuda --gpus 0,GPU-1 --workers 3 --threads 2 --compute-type int8
        --beam-size 2 --batch-size 4 --min-segment 5 --max-segment 25.5 --vad-threshold 0.4
        --prompt P --hotwords H --audio-track 1 --no-word-timestamps --quiet
        --where office"""
    args = parser().parse_args(text.split())
    settings = settings_of(args)
    assert settings == build_settings(
        {
            "model": "m",
            "device": "cuda",
            "workers": 3,
            "threads": 2,
            "compute_type": "int8",
            "beam_size": 2,
            "batch_size": 4,
            "where": "office",
        }
    )
    assert gpus_of(args) == ["0", "GPU-1"]
    (request,) = requests(args, settings)
    assert (request.path, request.output_dir, request.stem) == (Path("a.mkv"), Path("out"), "a")
    assert request.options == JobOptions(
        model="m",
        language="zh",
        task="translate",
        formats=("vtt", "srt"),
        device="cuda",
        compute_type="int8",
        beam_size=2,
        batch_size=4,
        min_segment_duration=5.0,
        max_segment_duration=25.5,
        vad_threshold=0.4,
        initial_prompt="P",
        hotwords="H",
        audio_track=1,
        word_timestamps=False,
        where="office",
    )


def test_without_options_the_defaults_of_the_settings_hold() -> None:
    args = parser().parse_args(["transcribe", "a/b.wav", "--formats", "all"])
    (request,) = requests(args, Settings())
    decode = request.options.decode(Settings())
    assert (decode, request.options.plan) == (DecodeOptions(), PlanOptions())
    assert request.output_dir == Path("a")
    assert set(request.options.formats) >= {"srt", "vtt", "txt", "tsv", "json"}
    assert gpus_of(args) is None


@pytest.mark.parametrize(
    ("paths", "stems"),
    [
        (["a.wav", "b.wav"], ["a", "b"]),
        (["a.wav", "a.mp3", "A.mp4"], ["a", "a-2", "A-3"]),
        (["a.wav", "a.mp3", "a-2.wav"], ["a", "a-3", "a-2"]),
        (["x/a.wav", "a.wav"], ["a", "a-2"]),
        (["a.b.wav", ".wav"], ["a.b", ".wav"]),
    ],
)
def test_outputs_of_one_call_never_meet(paths: list[str], stems: list[str]) -> None:
    wanted = [Path(path).stem for path in paths]
    assert unique_stems(wanted, [Path("out")] * len(wanted)) == stems


def test_the_same_name_in_two_folders_is_no_conflict() -> None:
    assert unique_stems(["a", "a"], [Path("x"), Path("y")]) == ["a", "a"]


def test_ten_thousand_recordings_of_one_name_are_named_at_once() -> None:
    stems = unique_stems(["audio"] * 10_000, [Path("out")] * 10_000)
    assert stems[:3] == ["audio", "audio-2", "audio-3"]
    assert len(set(stems)) == 10_000


def test_every_error_has_an_exit_code() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.SubtitleError)
    ]
    assert set(EXIT_CODES) == set(kinds)

    class Later(errors.FileMissing):
        pass

    assert exit_code(Later("x")) == 2
    assert {exit_code(kind("x")) for kind in kinds} <= {1, 2, 130}


def test_the_worst_outcome_decides() -> None:
    assert worst([0, 3, 2, 0]) == 2
    assert worst([0, 3, 0]) == 3
    assert worst([1, 2, 3]) == 1
    assert worst([130, 1]) == 130
    assert worst([0, 0]) == worst([]) == 0


def test_models_are_listed_with_what_they_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["large-v3", "100", "yes", "1550", "M", "2948", "MiB"] in [line[:7] for line in lines]
    assert next(line for line in lines if line[:1] == ["large-v3-turbo"])[2] == "no"
    assert next(line for line in lines if line[:1] == ["tiny.en"])[1] == "English"


def test_serve_hands_its_options_to_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Settings] = []
    monkeypatch.setitem(sys.modules, "app", SimpleNamespace(serve=served.append))
    assert main(["serve", "--host", "0.0.0.0", "--port", "7999"]) == 0
    assert (served[0].host, served[0].port) == ("0.0.0.0", 7999)
    assert main(["serve", "--port", "70000"]) == 2
    assert len(served) == 1
