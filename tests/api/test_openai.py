"""``/v1`` as OpenAI's own client speaks it, against a running app that asks for a key."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pysubs2
import pytest
from openai import OpenAI

from access.credentials import ApiKeys
from bench.processes import working_in
from bench.service import signal_to
from core.settings import Settings
from tests.apps import ROOT, App, running_app
from tests.code_blocks import CodeBlock, code_blocks
from tests.jobs.recordings import SHORT, SHORT_TEXT, silence
from tests.spoken import MAX_WER, joined, word_errors
from tests.waiting import PATIENCE_S, eventually

MAX_UPLOAD_MIB, MAX_CLIENT_JOBS = 8, 2
PAGE = code_blocks(ROOT / "docs" / "protocols.md")


@dataclass(frozen=True, slots=True)
class Served:
    app: App
    key: str

    def client(self, **fields: Any) -> Any:
        """OpenAI's client. It is not typed, because tests send what its types refuse."""
        wanted = {"base_url": f"{self.app.url}/v1", "api_key": self.key, "timeout": PATIENCE_S}
        return OpenAI(**{**wanted, "max_retries": 0, **fields})

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def job(self, name: str) -> dict[str, Any] | None:
        """The newest job of a recording."""
        jobs = httpx.get(f"{self.app.url}/api/jobs", headers=self.headers).json()["jobs"]
        return next((job for job in jobs if job["name"] == name), None)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("openai")
    key = ApiKeys(Settings(data_dir=folder / "data")).add("bot")
    settings = {
        "WHISPER_ACCESS": "login",
        "WHISPER_MAX_UPLOAD_MIB": str(MAX_UPLOAD_MIB),
        "WHISPER_MAX_CLIENT_JOBS": str(MAX_CLIENT_JOBS),
        "WHISPER_MODEL_ALIASES": '{"our-speech": "tiny.en"}',
    }
    with running_app(folder, **settings) as app:
        app.wait_ready()
        yield Served(app, key)


@pytest.fixture(scope="module")
def transcriptions(served: Served) -> Iterator[Any]:
    with served.client() as client:
        yield client.audio.transcriptions


def check_text(text: str) -> None:
    assert word_errors(SHORT_TEXT, text).wer <= 0.5


def test_json_is_the_text_and_what_it_took(transcriptions: Any) -> None:
    raw = transcriptions.with_raw_response.create(model="whisper-1", file=SHORT)
    answer = raw.parse()
    check_text(answer.text)
    assert (answer.usage.type, answer.usage.seconds) == ("duration", 2)
    assert raw.headers["content-type"] == "application/json"
    assert raw.headers["x-job-id"]


def test_text_and_subtitles_are_plain(transcriptions: Any) -> None:
    def create(format_name: str) -> str:
        text = transcriptions.create(model="tiny.en", file=SHORT, response_format=format_name)
        assert isinstance(text, str)
        return text

    check_text(create("text"))
    check_text(pysubs2.SSAFile.from_string(create("srt"), "srt")[0].plaintext)
    vtt = create("vtt")
    assert vtt.startswith("WEBVTT\n\n")
    check_text(pysubs2.SSAFile.from_string(vtt, "vtt")[0].plaintext)


@pytest.mark.parametrize("wanted", [("word",), ("segment",), ("word", "segment"), None])
def test_verbose_json_has_the_times_that_are_asked_for(
    transcriptions: Any, wanted: tuple[str, ...] | None
) -> None:
    more = {} if wanted is None else {"timestamp_granularities": list(wanted)}
    answer = transcriptions.create(
        model="our-speech",
        file=SHORT,
        response_format="verbose_json",
        language="en",
        prompt="Of printing.",
        temperature=0.4,
        chunking_strategy={"type": "server_vad", "threshold": 0.4},
        include=["logprobs"],
        **more,
    )
    check_text(answer.text)
    assert (answer.to_dict()["task"], answer.language) == ("transcribe", "english")
    assert 1.8 < answer.duration < 2.0
    granularities = wanted or ("segment",)
    assert (answer.words is not None) == ("word" in granularities)
    assert (answer.segments is not None) == ("segment" in granularities)
    for word in answer.words or ():
        assert 0.0 <= word.start <= word.end <= answer.duration
        assert word.word == word.word.strip() != ""
    for number, segment in enumerate(answer.segments or ()):
        assert (segment.id, segment.tokens, segment.temperature) == (number, [], 0.0)
        assert segment.seek == round(100 * segment.start)
        assert 0.0 <= segment.start < segment.end
        assert segment.text
        assert segment.avg_logprob < 0.0 < segment.compression_ratio
        assert 0.0 <= segment.no_speech_prob <= 1.0


def test_a_stream_says_what_is_final_and_then_all(transcriptions: Any, tmp_path: Path) -> None:
    recording = joined([*range(8)] * 2)
    file = recording.write(tmp_path / "talk.flac")
    with transcriptions.create(model="whisper-1", file=file, stream=True) as events:
        *deltas, done = list(events)
    assert {event.type for event in deltas} == {"transcript.text.delta"}
    assert len(deltas) > 1
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text
    assert word_errors(recording.text, done.text).wer <= 2 * MAX_WER
    assert done.to_dict()["usage"]["seconds"] == int(recording.duration_s) + 1


def test_a_recording_without_speech_has_no_text(transcriptions: Any, tmp_path: Path) -> None:
    answer = transcriptions.create(model="whisper-1", file=silence(tmp_path / "quiet.wav"))
    assert answer.text == ""


def test_models_are_the_names_that_may_be_asked_for(served: Served) -> None:
    with served.client() as client:
        names = {model.id for model in client.models.list()}
        ours = {"auto", "tiny.en", "large-v3-turbo", "our-speech"}
        assert {"whisper-1", "whisper", "whisper-large", "gpt-4o-mini-transcribe", *ours} <= names
        for name in ("whisper-1", "our-speech", "openai/whisper-large-v3"):
            assert client.models.retrieve(name).id == name
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve("gpt-5")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("fields", "code", "param", "said"),
    [
        ({"response_format": "docx"}, "invalid_option", "response_format", "verbose_json"),
        ({"temperature": 1.5}, "invalid_option", "temperature", "less than or equal to 1"),
        ({"timestamp_granularities": ["line"]}, "invalid_option", "timestamp_granularities", ""),
        ({"language": "xx"}, "invalid_option", "language", "xx"),
        ({"language": "de"}, "model_error", None, "English only"),
        ({"file": ("a.mp3", b"no sound")}, "unreadable_media", None, "can be read"),
        ({"file": ("a.mp3", b"no sound"), "stream": True}, "unreadable_media", None, ""),
        ({"file": ("a.mp3", b"")}, "invalid_option", None, "No recording"),
        ({"extra_headers": {"X-Job-On-Disconnect": "no"}}, "invalid_option", None, "continue"),
    ],
)
def test_what_cannot_work_answers_400(
    transcriptions: Any, fields: dict[str, Any], code: str, param: str | None, said: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        transcriptions.create(**{"model": "whisper-1", "file": SHORT, **fields})
    error = caught.value
    assert (error.type, error.code) == ("invalid_request_error", code)
    assert error.param == param or "extra_headers" in fields
    assert said in error.message


@pytest.mark.filterwarnings("ignore:deprecated")  # so the client says of translations
def test_an_english_model_does_not_translate(served: Served) -> None:
    refused = pytest.raises(openai.BadRequestError, match="cannot translate")
    with served.client() as client, refused:
        client.audio.translations.create(model="whisper-1", file=SHORT)


def test_other_errors_have_their_own_status(served: Served, transcriptions: Any) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        transcriptions.create(model="whisper-9", file=SHORT)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    assert "whisper-1, " in unknown.value.message
    with served.client(api_key="wrong") as stranger, pytest.raises(openai.OpenAIError) as key:
        stranger.audio.transcriptions.create(model="whisper-1", file=SHORT)
    assert isinstance(key.value, openai.AuthenticationError)
    assert (key.value.type, key.value.code) == ("invalid_request_error", "invalid_api_key")
    large = ("large.wav", bytes((MAX_UPLOAD_MIB + 1) * 1024 * 1024))
    with pytest.raises(openai.APIStatusError) as too_large:
        transcriptions.create(model="whisper-1", file=large)
    assert (too_large.value.status_code, too_large.value.code) == (413, "media_limit_exceeded")
    for method, path in (("POST", "/audio/speech"), ("GET", "/audio/transcriptions")):
        answer = httpx.request(method, f"{served.app.url}/v1{path}", headers=served.headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


def test_a_field_that_is_missing_is_named(served: Served) -> None:
    url = f"{served.app.url}/v1/audio/transcriptions"
    form: Any = {"file": ("talk.flac", SHORT.read_bytes())}
    answer = httpx.post(url, files=form, headers=served.headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
    for files, link in (({"model": (None, "whisper-1")}, None), (None, {"url": "http://x.org/"})):
        answer = httpx.post(url, files=files, json=link, headers=served.headers)
        assert answer.status_code == 400, answer.text
        assert "No recording" in answer.json()["error"]["message"]


def waiting(served: Served, name: str, **headers: str) -> http.client.HTTPConnection:
    """A client that has sent its recording and waits for the answer."""
    request = httpx.Request(
        "POST",
        f"{served.app.url}/v1/audio/transcriptions",
        data={"model": "whisper-1"},
        files={"file": (name, SHORT.read_bytes())},
        headers={**served.headers, **headers},
    )
    connection = http.client.HTTPConnection(request.url.netloc.decode(), timeout=PATIENCE_S)
    connection.request("POST", request.url.path, request.read(), dict(request.headers))
    eventually(lambda: served.job(name) is not None, "the job has begun")
    return connection


def test_a_client_that_hangs_up_cancels_its_job(served: Served, transcriptions: Any) -> None:
    def state(name: str) -> str:
        return str((served.job(name) or {})["state"])

    with served.app.standing_still():
        leaves = waiting(served, "leaves.flac")
        stays = waiting(served, "stays.flac", **{"X-Job-On-Disconnect": "continue"})
        with pytest.raises(openai.RateLimitError) as full:
            transcriptions.create(model="whisper-1", file=SHORT)
        assert full.value.code == "rate_limit_exceeded"
        assert int(full.value.response.headers["retry-after"]) > 0
        leaves.close()
        stays.close()
        eventually(lambda: state("leaves.flac") == "cancelled", "its job is cancelled")
    eventually(lambda: state("stays.flac") == "complete", "the other goes on")


def test_a_job_that_somebody_cancels_is_not_begun_again(served: Served) -> None:
    with served.app.standing_still():
        connection = waiting(served, "cancelled.flac")
        job = served.job("cancelled.flac")
        assert job is not None
        url = f"{served.app.url}{job['status_url']}/cancel"
        assert httpx.post(url, headers=served.headers).status_code == 200
        answer = connection.getresponse()
    assert (answer.status, answer.getheader("x-job-id")) == (409, job["id"])
    assert answer.getheader("x-should-retry") == "false"
    assert b'"cancelled"' in answer.read()
    connection.close()


def test_a_stream_that_fails_after_it_has_begun_says_so(
    served: Served, transcriptions: Any
) -> None:
    with served.app.standing_still():
        # It begins without text when there is none for a while.
        events = transcriptions.create(model="whisper-1", file=SHORT, stream=True)
        url = f"{served.app.url}/api/jobs/{events.response.headers['x-job-id']}/cancel"
        assert httpx.post(url, headers=served.headers).status_code == 200
        with events, pytest.raises(openai.APIError, match="Cancelled") as caught:
            list(events)
    assert caught.value.code == "cancelled"


@pytest.mark.parametrize("block", PAGE, ids=str)
def test_the_page_says_what_works(block: CodeBlock, served: Served, tmp_path: Path) -> None:
    code = block.text.replace("http://127.0.0.1:7860", served.app.url).replace("KEY", served.key)
    shutil.copy(SHORT, tmp_path / "talk.mp4")
    program = {"python": [sys.executable, "-c"], "bash": ["bash", "-euo", "pipefail", "-c"]}
    done = subprocess.run(
        [*program[block.language], code],
        cwd=tmp_path,
        env={**os.environ, "OPENAI_API_KEY": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "it shows what came"
    assert '"error"' not in done.stdout


def test_when_nothing_is_left_the_client_is_told_when_to_come_again(served: Served) -> None:
    def killed() -> bool:
        for process in working_in(served.app.data_dir.parent):
            if process.kind == "worker":
                signal_to(process.pid, signal.SIGKILL)
        return str((served.job("lost.flac") or {})["state"]) == "failed"

    with served.app.standing_still():
        connection = waiting(served, "lost.flac")
        eventually(killed, "no worker can load the model")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("retry-after")) == (503, "60")
    error = json.loads(answer.read())["error"]
    assert (error["type"], error["code"]) == ("server_error", "worker_crashed")
    connection.close()
