"""What our middleware and routes share, and how to refuse an upload that is under way.

If a server answers and closes while a client still sends, the client sees a broken connection
instead of the answer. So the answer is sent at once, and the rest of the body is read and discarded
for a moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import anyio
import anyio.to_thread
from starlette.requests import HTTPConnection
from starlette.responses import Response

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

P = ParamSpec("P")
T = TypeVar("T")

BODY_ENDED = "body_ended"
"""In a request's state: nothing more of its body will come."""

DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_S = 5.0


def in_threads(number: int) -> Callable[[Callable[P, T]], Callable[P, Awaitable[T]]]:
    """A decorator: the function runs in a thread, at most ``number`` at a time."""
    limiter = anyio.CapacityLimiter(number)

    def in_thread(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
        @wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            bound = partial(function, *args, **kwargs)
            return await anyio.to_thread.run_sync(bound, limiter=limiter)

        return call

    return in_thread


def root_of(request: HTTPConnection) -> str:
    """The prefix of a reverse proxy; empty without one."""
    root: str = request.scope.get("root_path", "")
    return root


def path_of(request: HTTPConnection) -> str:
    """The path without that prefix."""
    path: str = request.scope["path"]
    return path.removeprefix(root_of(request)) or "/"


def watched(scope: Scope, receive: Receive) -> Receive:
    """The same, noting in the request's state when the body has ended."""
    state = scope.setdefault("state", {})
    # Requests of these kinds come without one, and keep their connection.
    state[BODY_ENDED] = scope["method"] in ("GET", "HEAD")

    async def noting() -> Message:
        message = await receive()
        state[BODY_ENDED] = message["type"] != "http.request" or not message.get("more_body")
        return message

    return noting


async def answer_early(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request whose body may not have been read to its end; ``receive`` is watched."""
    if scope.get("state", {}).get(BODY_ENDED, True):
        await response(scope, receive, send)
        return
    response.headers["Connection"] = "close"

    async def held_open(message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await send({**message, "more_body": True})
            await _drain(scope, receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await send(message)

    await response(scope, receive, held_open)


async def _drain(scope: Scope, receive: Receive) -> None:
    left = DRAIN_BYTES
    with anyio.move_on_after(DRAIN_S):
        while left > 0 and not scope["state"][BODY_ENDED]:
            left -= len((await receive()).get("body", b""))


class EarlyAnswer(Response):
    """An answer of a route that has not read the whole body of its request."""

    def __init__(self, answer: Response) -> None:
        super().__init__(status_code=answer.status_code)
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer_early(self._answer, scope, receive, send)
