"""Each protocol over a real connection, and each way in which a server can fail."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.endpoints import Endpoint, EndpointKind
from core.errors import EndpointBusy, EndpointFailed, EndpointRefused, SubtitleError
from core.pcm import Float32
from core.types import SAMPLE_RATE
from endpoints.clients import client_of
from endpoints.exchange import tls
from endpoints.heard import ClipOptions, Heard, SpeechClient
from endpoints.openai_client import JSON, SEGMENTS, TEXT, WORDS
from endpoints.probe import probe
from tests.endpoints.known_speech import Speech
from tests.endpoints.server import SpeechServer
from tests.waiting import eventually

ENGLISH = ClipOptions(language="en", prompt="Of printing.", hotwords="incunabula, type")


@pytest.fixture(scope="session")
def clip(speech: Speech) -> Float32:
    pcm = speech.recording.pcm[: 14 * SAMPLE_RATE]
    return pcm.astype(np.float32) / np.float32(32768)


def hear(client: SpeechClient, clip: Float32, wanted: ClipOptions = ENGLISH) -> Heard:
    return asyncio.run(client.transcribe(clip, wanted))


def check_heard(heard: Heard, speech: Speech) -> None:
    words = [word for word in speech.words if word.end_s <= 14.0]
    assert heard.text == "".join(word.text for word in words).strip()
    assert "".join(word.text for word in heard.words).strip() == heard.text
    for one, other in zip(heard.words, words, strict=True):
        assert one.start_s == pytest.approx(other.start_s, abs=0.01)


@pytest.mark.parametrize("kind", ["openai", "asr", "funasr"])
def test_words_come_back_with_their_times(
    server: SpeechServer, clip: Float32, speech: Speech, kind: EndpointKind
) -> None:
    server.key = "sk-secret"
    check_heard(hear(client_of(server.endpoint(kind)), clip), speech)
    [request] = server.seen
    assert request.audio_s == pytest.approx(14.0)
    assert request.headers["Authorization"] == "Bearer sk-secret"
    fields = request.fields
    if kind == "openai":
        assert fields["model"] == ["whisper-tiny"]
        assert fields["prompt"] == ["incunabula, type Of printing."]
        assert fields["timestamp_granularities[]"] == ["word", "segment"]
    if kind == "asr":
        assert (fields["encode"], fields["output"]) == (["false"], ["json"])
        assert (fields["task"], fields["language"]) == (["transcribe"], ["en"])
    if kind == "funasr":
        sent = {name: json.loads(value[0]) for name, value in fields.items()}
        assert (sent["mode"], sent["wav_format"], sent["audio_fs"]) == ("offline", "pcm", 16000)
        assert json.loads(sent["hotwords"]) == {"incunabula": 20, "type": 20}
        assert (sent["chunk_size"], sent["chunk_interval"]) == ([5, 10, 5], 10)


@pytest.mark.parametrize(
    ("refused", "form", "asked"),
    [
        ({"word"}, SEGMENTS, 2),
        ({"word", "verbose_json"}, JSON, 3),
        ({"word", "verbose_json", "json"}, TEXT, 4),
    ],
)
def test_what_a_server_refuses_is_not_asked_for_again(
    server: SpeechServer, clip: Float32, refused: set[str], form: str, asked: int
) -> None:
    server.refused_formats = refused
    client = client_of(server.endpoint())
    first = hear(client, clip)
    assert (first.form, server.count) == (form, asked)
    assert hear(client, clip).text == first.text
    assert server.count == asked + 1
    assert bool(first.parts) == (form == SEGMENTS)


def test_a_server_that_refuses_everything_says_why_and_is_asked_the_same_again(
    server: SpeechServer, clip: Float32
) -> None:
    server.refused_formats = {"verbose_json", "json", "text"}
    client = client_of(server.endpoint())
    with pytest.raises(EndpointRefused, match="verbose_json is not supported"):
        hear(client, clip)
    server.refused_formats = set()
    assert hear(client, clip).form == WORDS


def test_text_without_times_is_text(server: SpeechServer, clip: Float32) -> None:
    server.word_times = False
    heard = hear(client_of(server.endpoint()), clip)
    assert (heard.form, heard.words) == (SEGMENTS, ())
    heard = hear(client_of(server.endpoint("funasr")), clip)
    assert heard.text
    assert (heard.parts, heard.words) == ((), ())


def test_translations_are_asked_for_beside(server: SpeechServer, clip: Float32) -> None:
    hear(client_of(server.endpoint()), clip, ClipOptions(language="de", task="translate"))
    assert server.seen[-1].path == "/v1/audio/translations"
    assert "language" not in server.seen[-1].fields


def test_languages_and_models_are_told_where_the_protocol_has_them(
    server: SpeechServer, clip: Float32
) -> None:
    openai, asr, funasr = (client_of(server.endpoint(kind)) for kind in ("openai", "asr", "funasr"))
    assert asyncio.run(openai.models()) == ("whisper-tiny",)
    assert asyncio.run(asr.models()) is None
    assert asyncio.run(openai.detect_language(clip)) == ("english", 1.0)
    assert asyncio.run(asr.detect_language(clip)) == ("en", 0.9)
    assert asyncio.run(funasr.detect_language(clip)) is None


@pytest.mark.parametrize("behaviour", ["right", "unmarked", "sentences"])
def test_funasr_in_two_passes(
    server: SpeechServer, clip: Float32, speech: Speech, behaviour: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr("endpoints.funasr_client.SETTLE_S", 0.1)
    server.behaviour = behaviour
    heard = hear(client_of(server.endpoint("funasr", mode="2pass")), clip)
    assert len(heard.words) == sum(word.end_s <= 14.0 for word in speech.words)


def test_characters_and_words_get_their_stamps() -> None:
    from endpoints.funasr_client import _times

    stamps = [[0, 100], [100, 200], [200, 300], [300, 400], [400, 900], [900, 950], [950, 1100]]
    one = {"text": "正是因为 FunASR\uff0c对吧\uff1f", "timestamp": json.dumps(stamps)}
    parts, words = _times([one])
    assert [word.text for word in words] == [
        "正",
        "是",
        "因",
        "为",
        " FunASR\uff0c",
        "对",
        "吧\uff1f",
    ]
    assert (words[4].start_s, words[4].end_s, parts[0].end_s) == (0.4, 0.9, 1.1)
    # Digits for words: their numbers differ, and guessed times would be worse than none.
    assert _times([{**one, "text": "42"}])[1] == ()
    sentences = [{"text_seg": "正 是 因", "punc": "。", "start": 430, "end": 1130,
                  "ts_list": [[430, 670], [670, 810], [810, 1130]]}]  # fmt: skip
    parts, words = _times([{"text": "正是因。", "stamp_sents": sentences}])
    assert [word.text for word in words] == ["正", "是", "因。"]
    assert (parts[0].text, parts[0].start_s) == ("正是因。", 0.43)


FAULTS: list[tuple[str, type[SubtitleError], str]] = [
    ("html", EndpointFailed, "a web page, “Sign in”"),
    ("error in 200", EndpointFailed, "200 with an error: model is gone"),
    ("oom in 200", EndpointFailed, "out of GPU memory"),
    ("half", EndpointFailed, "cut off or broken"),
    ("broken", EndpointFailed, "broke off its answer"),
    ("drop", EndpointFailed, "broke off"),
    ("huge", EndpointFailed, "more than 8 MiB"),
    ("oom", EndpointFailed, "out of GPU memory"),
    ("actor oom", EndpointFailed, "model id: whisper-0"),
    ("down", EndpointFailed, "HTTP 503"),
    ("hang", EndpointFailed, "did not answer within"),
    ("busy", EndpointBusy, "HTTP 429"),
    ("busy until", EndpointBusy, "HTTP 429"),
    ("unknown model", EndpointRefused, "does not exist"),
    ("too large", EndpointRefused, "413 Request Entity Too Large"),
    ("elsewhere", EndpointRefused, "redirects to http://203.0.113.9/"),
]


@pytest.mark.parametrize(("behaviour", "kind", "said"), FAULTS, ids=[each[0] for each in FAULTS])
def test_every_fault_is_named_with_its_endpoint(
    server: SpeechServer,
    clip: Float32,
    behaviour: str,
    kind: type[SubtitleError],
    said: str,
) -> None:
    server.behaviour = behaviour
    short: dict[str, Any] = (
        {"timeout_s": 0.2, "timeout_per_audio_s": 0.0} if behaviour == "hang" else {}
    )
    with pytest.raises(SubtitleError) as caught:
        hear(client_of(server.endpoint(**short)), clip)
    assert type(caught.value) is kind
    assert caught.value.message.startswith("Endpoint scripted (127.0.0.1:")
    assert said in caught.value.message
    if isinstance(caught.value, EndpointBusy):
        assert caught.value.retry_after_s == {"busy": 7.0, "busy until": 3600.0}[behaviour]
    # Refused or failed, it is asked once: only a form that is refused is asked for otherwise.
    assert server.count == 1


@pytest.mark.parametrize("kind", ["openai", "asr"])
def test_a_wrong_key_is_refused(server: SpeechServer, clip: Float32, kind: EndpointKind) -> None:
    server.key = "sk-right"
    with pytest.raises(EndpointRefused, match="Incorrect API key") as caught:
        hear(client_of(server.endpoint(kind, api_key="sk-wrong")), clip)
    assert "sk-wrong" not in caught.value.explain()


def closed_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_a_server_that_is_not_there(clip: Float32, scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{closed_port()}/v1/audio/transcriptions"
    kind: EndpointKind = "funasr" if scheme == "ws" else "openai"
    endpoint = Endpoint(id="a", name="a", api_url=url, model_name="", kind=kind)
    with pytest.raises(EndpointFailed, match="cannot be reached") as caught:
        hear(client_of(endpoint), clip)
    assert "firewall" in caught.value.hint


@pytest.mark.parametrize("scheme", ["https", "wss"])
def test_a_server_without_tls_is_told_apart(
    server: SpeechServer, clip: Float32, scheme: str
) -> None:
    kind: EndpointKind = "funasr" if scheme == "wss" else "openai"
    url = server.endpoint(kind).api_url.replace("http:", "https:").replace("ws:", "wss:")
    with pytest.raises(EndpointFailed, match=r"TLS|lost the connection"):
        hear(client_of(server.endpoint(kind, api_url=url)), clip)


@pytest.mark.parametrize(("behaviour", "said"), [("hang", "did not answer"), ("half", "cut off")])
def test_faults_over_a_websocket(
    server: SpeechServer, clip: Float32, behaviour: str, said: str
) -> None:
    server.behaviour = behaviour
    limits: dict[str, Any] = (
        {"timeout_s": 0.3, "timeout_per_audio_s": 0.0} if behaviour == "hang" else {}
    )
    with pytest.raises(EndpointFailed, match=said):
        hear(client_of(server.endpoint("funasr", **limits)), clip)


def test_the_environments_proxies_are_not_used(
    server: SpeechServer, clip: Float32, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    kinds: tuple[EndpointKind, ...] = ("openai", "funasr")
    for kind in kinds:
        assert hear(client_of(server.endpoint(kind)), clip).text


def test_a_request_that_is_given_up_is_closed(server: SpeechServer, clip: Float32) -> None:
    server.behaviour = "hang"
    client = client_of(server.endpoint())

    async def give_up() -> None:
        request = asyncio.create_task(client.transcribe(clip, ENGLISH))
        await asyncio.to_thread(eventually, lambda: server.count == 1, "the request has arrived")
        request.cancel()
        await asyncio.wait([request])
        assert request.cancelled()

    asyncio.run(give_up())


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    pem = serialization.Encoding.PEM
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, form, none))
    return path


@pytest.mark.parametrize("kind", ["openai", "funasr"])
def test_a_certificate_counts_when_its_authority_is_trusted(
    speech: Speech,
    clip: Float32,
    certificate: Path,
    kind: EndpointKind,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with SpeechServer(speech, tls=context) as server:
        endpoint = server.endpoint(kind)
        with pytest.raises(EndpointFailed, match="not trusted: self-signed certificate") as caught:
            hear(client_of(endpoint), clip)
        assert "SSL_CERT_FILE" in caught.value.hint
        assert [check.state for check in probe(endpoint).checks] == ["ok", "failed"]
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        tls.cache_clear()
        try:
            assert hear(client_of(endpoint), clip).text
        finally:
            tls.cache_clear()


def test_failures_leave_nothing_behind(server: SpeechServer, clip: Float32) -> None:
    server.behaviour = "down"
    client = client_of(server.endpoint())

    def failures(number: int) -> tuple[int, int]:
        for _ in range(number):
            with pytest.raises(EndpointFailed):
                hear(client, clip)
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = failures(5)
    eventually(lambda: failures(20) <= before, "the server's threads have ended as well")
