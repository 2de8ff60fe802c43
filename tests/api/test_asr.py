"""``/asr`` and ``/detect-language`` with the requests that Bazarr's provider sends: raw samples in
a form, read to the end with nothing looked at but the body."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pysubs2
import pytest
import soundfile

from core.types import SAMPLE_RATE
from tests.apps import App, running_app
from tests.jobs.recordings import SHORT, SHORT_TEXT
from tests.spoken import quiet, word_errors
from tests.waiting import PATIENCE_S, eventually

RAW = soundfile.read(SHORT, dtype="int16")[0].tobytes()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[App]:
    with running_app(tmp_path_factory.mktemp("asr"), WHISPER_MODEL="base") as app:
        app.wait_ready()
        yield app


def post(app: App, path: str, sound: bytes = RAW, **params: str) -> httpx.Response:
    return httpx.post(
        app.url + path, params=params, files={"audio_file": sound}, timeout=PATIENCE_S
    )


def jobs(app: App) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = app.get("/api/jobs")[1]["jobs"]
    return found


def check_text(text: str) -> None:
    assert word_errors(SHORT_TEXT, text).wer <= 0.5


def test_a_media_server_asks_for_the_language_and_then_for_subtitles(app: App) -> None:
    found = post(app, "/detect-language", encode="false").json()
    assert (found["detected_language"], found["language_code"]) == ("english", "en")
    assert 0.0 < found["confidence"] <= 1.0
    eventually(lambda: jobs(app) == [], "nothing is left of the question")
    answer = post(
        app,
        "/asr",
        task="transcribe",
        language="en",
        output="srt",
        encode="false",
        video_file="/films/A Film (1926).mkv",
    )
    assert answer.headers["content-type"].startswith("text/plain")
    (cue,) = pysubs2.SSAFile.from_string(answer.content.decode(), "srt")
    check_text(cue.plaintext)
    assert 0 <= cue.start < cue.end <= 2500
    (job,) = jobs(app)
    assert (job["name"], job["id"]) == ("A Film (1926).mkv", answer.headers["x-job-id"])
    assert job["total_s"] == pytest.approx(len(RAW) / 2 / SAMPLE_RATE)


def test_every_output_in_any_container(app: App) -> None:
    def output(name: str, **params: str) -> str:
        answer = post(app, "/asr", SHORT.read_bytes(), output=name, language="en", **params)
        assert answer.status_code == 200, answer.text
        return answer.text

    check_text(output("txt"))
    check_text(pysubs2.SSAFile.from_string(output("srt"), "srt")[0].plaintext)
    check_text(pysubs2.SSAFile.from_string(output("vtt"), "vtt")[0].plaintext)
    # A slow answer has blank lines between.
    head, row = filter(None, output("tsv").splitlines())
    assert head == "start\tend\ttext"
    check_text(row.split("\t")[2])
    plain, with_words = (
        json.loads(output("json", word_timestamps=asked)) for asked in ("false", "true")
    )
    check_text(plain["text"])
    assert plain["language"] == "en"
    assert "words" not in plain["segments"][0]
    check_text("".join(word["word"] for word in with_words["segments"][0]["words"]))


def test_speech_of_another_language_is_translated(app: App) -> None:
    answer = post(app, "/asr", task="translate", language="de", output="txt", encode="false")
    assert answer.status_code == 200, answer.text


def test_where_nobody_speaks_there_is_no_language(app: App) -> None:
    found = post(app, "/detect-language", quiet(3.0).tobytes(), encode="false").json()
    assert (found["language_code"], found["confidence"]) == ("und", 0.0)


@pytest.mark.parametrize(
    ("path", "params", "sound", "status"),
    [
        ("/asr", {"output": "docx"}, RAW, 400),
        ("/asr", {"task": "sing"}, RAW, 400),
        ("/asr", {"language": "xx"}, RAW, 400),
        ("/asr", {"encode": "false"}, b"", 400),
        ("/asr", {}, b"no recording", 415),
        ("/detect-language", {}, b"no recording", 415),
    ],
)
def test_what_cannot_work_has_a_status(
    app: App, path: str, params: dict[str, str], sound: bytes, status: int
) -> None:
    answer = post(app, path, sound, **params)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_a_long_wait_is_padded_and_a_failure_breaks_it_off(app: App) -> None:
    """While nothing comes to its end: one answer is heard out, one job fails, one client leaves."""
    with ExitStack() as stack, httpx.Client(base_url=app.url, timeout=PATIENCE_S) as client:

        def begin(output: str) -> httpx.Response:
            return stack.enter_context(
                client.stream(
                    "POST",
                    "/asr",
                    params={"output": output, "encode": "false", "language": "en"},
                    files={"audio_file": RAW},
                )
            )

        with app.standing_still(), ThreadPoolExecutor(3) as pool:
            answers = list(pool.map(begin, ("vtt", "srt", "txt")))
            assert [answer.status_code for answer in answers] == [200, 200, 200]
            heard, broken, left = answers
            chunks = heard.iter_raw()
            first = next(chunks)
            assert first == b"WEBVTT\n\n"
            job_id = broken.headers["x-job-id"]
            assert client.post(f"/api/jobs/{job_id}/cancel").status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                broken.read()
            left.close()
            left_url = f"/api/jobs/{left.headers['x-job-id']}"
            eventually(lambda: app.get(left_url)[1]["state"] == "cancelled", "it is cancelled")
        (cue,) = pysubs2.SSAFile.from_string((first + b"".join(chunks)).decode(), "vtt")
        check_text(cue.plaintext)
    assert "The answer is broken off: Cancelled." in app.log.read_text()


def test_a_film_of_two_hours(tmp_path: Path, tiny_en: Path, long_run: bool) -> None:
    if not long_run:
        pytest.skip("takes long: make test-all")
    sound = soundfile.read(SHORT.parent / "LJ001-0001.flac", dtype="int16")[0].tobytes()
    film = sound * (2 * 3600 * SAMPLE_RATE * 2 // len(sound))
    with running_app(tmp_path) as app:
        # Whoever waits, program or proxy, gives up on a server that is silent for a minute.
        answer = httpx.post(
            f"{app.url}/asr",
            params={"task": "transcribe", "language": "en", "output": "srt", "encode": "false"},
            files={"audio_file": film},
            timeout=60.0,
        )
    assert answer.status_code == 200
    cues = pysubs2.SSAFile.from_string(answer.content.decode(), "srt")
    assert cues[-1].end > 1000 * (2 * 3600 - 60)
    assert len(cues) > 1000
