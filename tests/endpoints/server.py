"""A speech server that can be told how to behave: real HTTP and real WebSockets on loopback.

It has no model. It knows one recording and its words, finds where a clip was cut from by its
samples, and answers with what is said there. So its text is right for any window, its speed is the
one it is given, and it can go wrong in every way on purpose.

    with SpeechServer(speech_of([0, 1, 4])) as server:
        server.script += ["hang", "oom"]      # the next two requests; then server.behaviour
        endpoint = server.endpoint("openai")
"""

from __future__ import annotations

import io
import json
import ssl
import threading
import wave
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from core.endpoints import Endpoint, EndpointKind
from core.pcm import Int16
from core.types import SAMPLE_RATE, Word
from tests.endpoints.answers import FIXED, OTHER_TEXT, Answer
from tests.endpoints.known_speech import Speech, heard_in


@dataclass
class Request:
    """What was asked."""

    path: str
    fields: dict[str, list[str]]
    headers: dict[str, str]
    audio_s: float


class SpeechServer:
    """Serves until it is left. ``script`` holds the behaviours of the next requests; when it is
    empty, all behave as ``behaviour`` says: a name in ``BEHAVIOURS`` or ``answers.FIXED``."""

    def __init__(
        self,
        speech: Speech,
        *,
        key: str = "",
        speed: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``speed``: seconds of audio it hears in a second, one clip after the other; 0: at once.
        ``key``: requests without it are answered 401."""
        self.speech = speech
        self.key = key
        self.tls = tls
        self.speed = speed
        self.behaviour = "right"
        self.script: deque[str] = deque()
        self.refused_formats: set[str] = set()
        self.word_times = True
        self.language = "en"
        self.seen: deque[Request] = deque(maxlen=1000)
        self.count = 0
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._model = threading.Lock()
        self.closing = threading.Event()
        self._http: ThreadingHTTPServer | None = None
        self._websocket: Server | None = None
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"speech_server": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        if self.tls is not None:
            self._http.socket = self.tls.wrap_socket(self._http.socket, server_side=True)
        self._websocket = serve(self._funasr, "127.0.0.1", 0, max_size=None, ssl=self.tls)
        quickly = partial(self._http.serve_forever, poll_interval=0.02)
        for run in (quickly, self._websocket.serve_forever):
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and let go of every request; twice is once."""
        self.closing.set()
        if self._http is not None and self._websocket is not None:
            self._http.shutdown()
            self._http.server_close()
            self._websocket.shutdown()
            for thread in self._threads:
                thread.join()
            self._http = self._websocket = None

    @property
    def port(self) -> int:
        assert self._http is not None
        return int(self._http.server_address[1])

    def endpoint(self, kind: EndpointKind = "openai", **changes: Any) -> Endpoint:
        """As an administrator sets it up."""
        secure = "" if self.tls is None else "s"
        base = f"http{secure}://127.0.0.1:{self.port}"
        url = {"openai": f"{base}/v1/audio/transcriptions", "asr": f"{base}/asr"}
        if kind == "funasr":
            assert self._websocket is not None
            url["funasr"] = f"ws{secure}://127.0.0.1:{self._websocket.socket.getsockname()[1]}"
        values: dict[str, Any] = {
            "id": "scripted",
            "name": "scripted",
            "api_url": url[kind],
            "model_name": "whisper-tiny",
            "kind": kind,
            "api_key": self.key,
            **changes,
        }
        return Endpoint(**values)

    @contextmanager
    def serving(self, request: Request) -> Iterator[str]:
        """Count a request, and take its behaviour."""
        with self._lock:
            self.count += 1
            self.seen.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            behaviour = self.script.popleft() if self.script else self.behaviour
        try:
            yield behaviour
        finally:
            with self._lock:
                self._at_once -= 1

    def hear(self, clip: Int16) -> list[Word]:
        """The clip's words, at the server's speed."""
        if self.speed:
            with self._model:
                self.closing.wait(len(clip) / SAMPLE_RATE / self.speed)
        return heard_in(self.speech, clip)

    def _funasr(self, connection: ServerConnection) -> None:
        try:
            begin = json.loads(connection.recv())
            data = b""
            while isinstance(message := connection.recv(), bytes):
                data += message
            assert json.loads(message)["is_speaking"] is False
            clip = np.frombuffer(data, np.int16)
            fields = {name: [json.dumps(value)] for name, value in begin.items()}
            assert connection.request is not None
            headers = dict(connection.request.headers.raw_items())
            request = Request("/", fields, headers, len(clip) / SAMPLE_RATE)
            with self.serving(request) as behaviour:
                for text in _funasr_messages(self, begin, clip, behaviour):
                    connection.send(text)
        except ConnectionClosed:
            return  # the client has gone


def _funasr_messages(
    server: SpeechServer, begin: dict[str, Any], clip: Int16, behaviour: str
) -> Iterator[str]:
    mode = begin["mode"]
    if behaviour == "hang":
        server.closing.wait()
        return
    words = server.hear(clip)
    answer: dict[str, Any] = {"wav_name": begin["wav_name"], "is_final": True}
    answer["mode"] = "offline" if mode == "offline" else "2pass-offline"
    answer["text"] = "".join(word.text for word in words).strip()
    stamps = [[round(1000 * word.start_s), round(1000 * word.end_s)] for word in words]
    if server.word_times:
        answer["timestamp"] = json.dumps(stamps)
    if server.word_times and words and behaviour == "sentences":
        answer["stamp_sents"] = [
            {
                "text_seg": answer["text"].rstrip("."),
                "punc": ".",
                "start": stamps[0][0],
                "end": stamps[-1][1],
                "ts_list": stamps,
            }
        ]
    if mode == "2pass":
        yield json.dumps({**answer, "mode": "2pass-online", "is_final": False})
        if behaviour == "unmarked":
            answer["is_final"] = False
    text = json.dumps(answer)
    yield text[: len(text) // 2] if behaviour == "half" else text
    if behaviour == "unmarked":
        server.closing.wait()


class _Handler(BaseHTTPRequestHandler):
    speech_server: SpeechServer
    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # a client that has had enough hangs up

    def do_GET(self) -> None:
        body = {"object": "list", "data": [{"id": "whisper-tiny", "object": "model"}]}
        if urlsplit(self.path).path != "/v1/models":
            self._send(Answer(404, b'{"detail": "Not Found"}'))
        elif self._authorised():
            self._send(Answer(200, json.dumps(body).encode()))

    def do_POST(self) -> None:
        server = self.speech_server
        fields, audio = self._form()
        path = urlsplit(self.path)
        fields |= parse_qs(path.query)
        clip = _samples(audio)
        request = Request(path.path, fields, dict(self.headers), len(clip) / SAMPLE_RATE)
        if not self._authorised():
            return
        with server.serving(request) as behaviour:
            if behaviour in ("hang", "drop"):
                if behaviour == "hang":
                    server.closing.wait()
                self.close_connection = True
                return
            answer = FIXED.get(behaviour) or BEHAVIOURS[behaviour](server, request, clip)
            length = len(answer.body) * (2 if behaviour == "broken" else 1)
            try:
                self._send(answer, length)
            except OSError:
                self.close_connection = True  # the client has gone
            if behaviour == "broken":
                self.close_connection = True

    def _authorised(self) -> bool:
        wanted = f"Bearer {self.speech_server.key}"
        if not self.speech_server.key or self.headers.get("Authorization") == wanted:
            return True
        self._send(Answer(401, b'{"error": {"message": "Incorrect API key provided"}}'))
        return False

    def _form(self) -> tuple[dict[str, list[str]], bytes]:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        fields: dict[str, list[str]] = {}
        audio = b""
        for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
            name = str(part.get_param("name", header="content-disposition"))
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            if part.get_filename():
                audio = data
            else:
                fields.setdefault(name, []).append(data.decode())
        return fields, audio

    def _send(self, answer: Answer, length: int | None = None) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body) if length is None else length))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _samples(audio: bytes) -> Int16:
    if audio[:4] == b"RIFF":
        with wave.open(io.BytesIO(audio)) as reader:
            audio = reader.readframes(reader.getnframes())
    return np.frombuffer(audio, np.int16)


def _right(server: SpeechServer, request: Request, clip: Int16) -> Answer:
    return _transcript(server, request, server.hear(clip))


def _transcript(server: SpeechServer, request: Request, words: Sequence[Word]) -> Answer:
    text = "".join(word.text for word in words).strip()
    if request.path == "/detect-language":
        body = {"detected_language": "english", "language_code": server.language}
        return _json(body | {"confidence": 0.9})
    if request.path == "/asr":
        segment: dict[str, Any] = {"text": text, "start": 0.0, "end": request.audio_s}
        if "word_timestamps" in request.fields and server.word_times:
            segment["words"] = [_word(word, word.text) for word in words]
        segments = [segment] if words else []
        return _json({"text": text, "segments": segments, "language": server.language})
    form = request.fields.get("response_format", ["json"])[0]
    wanted = request.fields.get("timestamp_granularities[]", ["segment"])
    if form in server.refused_formats or ("word" in wanted and "word" in server.refused_formats):
        return _json({"error": {"message": f"{form} is not supported"}}, 400)
    if form == "text":
        return Answer(200, text.encode(), "text/plain")
    answer: dict[str, Any] = {"text": text}
    if form == "verbose_json":
        answer |= {"language": "english", "segments": []}
        if words:
            bounds = {"start": words[0].start_s, "end": words[-1].end_s}
            answer["segments"] = [{"id": 0, "text": text, **bounds}]
        if "word" in wanted and server.word_times:
            # As OpenAI does: without spaces and punctuation.
            answer |= {"words": [_word(word, word.text.strip(' ,."')) for word in words]}
    return _json(answer)


def _word(word: Word, text: str) -> dict[str, Any]:
    return {"word": text, "start": round(word.start_s, 3), "end": round(word.end_s, 3)}


def _json(body: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(body).encode())


def _half(server: SpeechServer, request: Request, clip: Int16) -> Answer:
    answer = _right(server, request, clip)
    return Answer(200, answer.body[: len(answer.body) // 2])


def _beginning(server: SpeechServer, request: Request, clip: Int16) -> Answer:
    """Stops early, as batched decoders do."""
    words = server.hear(clip)
    return _transcript(server, request, words[: len(words) // 2])


def _said(text: str) -> Any:
    def answer(server: SpeechServer, request: Request, clip: Int16) -> Answer:
        each_s = request.audio_s / max(1, len(text.split()))
        words = [
            Word(at * each_s, (at + 1) * each_s, f" {word}", 1.0)
            for at, word in enumerate(text.split())
        ]
        return _transcript(server, request, words)

    return answer


def _timed(change: Any) -> Any:
    def answer(server: SpeechServer, request: Request, clip: Int16) -> Answer:
        words = server.hear(clip)
        moved = []
        for word in words:
            start_s, end_s = change(word, request.audio_s)
            moved.append(Word(start_s, end_s, word.text, word.probability))
        return _transcript(server, request, moved)

    return answer


BEHAVIOURS: dict[str, Any] = {
    "right": _right,
    "broken": _right,
    "half": _half,
    "beginning": _beginning,
    "empty": _said(""),
    "loops": _said("and the printing " * 20),
    "other text": _said(OTHER_TEXT),
    "long text": _said(" ".join(f"{7919**number % 99991:x}" for number in range(300))),
    "late": _timed(lambda word, audio_s: (word.start_s + audio_s, word.end_s + audio_s)),
    "backwards": _timed(lambda word, audio_s: (audio_s - word.end_s, audio_s - word.start_s)),
}  # fmt: skip
"""How it can behave; also ``hang`` (no answer until it closes) and ``drop`` (hangs up)."""
