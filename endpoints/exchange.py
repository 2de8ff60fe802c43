"""One HTTP exchange with a speech server: bounded in time and size, and with that server alone.

Redirects are not followed, and the environment's proxies are not used: audio and key go to the
address that an administrator has set.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from core.endpoints import Endpoint
from core.errors import SubtitleError
from endpoints import faults
from endpoints.heard import MAX_ANSWER_BYTES

CONNECT_S = 10.0
"""Seconds to reach a server: far longer than any network that is worth sending audio over."""

CERTIFICATE = (
    "Give the server a certificate for that name from a known authority, or set SSL_CERT_FILE to"
    " its authority's certificate where this service starts."
)
UNREACHABLE = (
    "Check that the server runs, that its address and port are right, and that no firewall is"
    " between. In a container, `localhost` is the container itself: use host.docker.internal."
)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with status 200."""

    content_type: str
    text: str

    def json(self, endpoint: Endpoint) -> Any:
        """What it holds. Raises EndpointFailed for what is no JSON, or an error after all."""
        if self.text.lstrip()[:1] == "<":
            page = faults.server_message(self.text)
            raise faults.failed(
                endpoint,
                f"answered with {page} instead of text",
                "Check the path of its address; a proxy or a login page may stand before it.",
            )
        try:
            body = json.loads(self.text)
        except ValueError as error:
            fault = "answered with JSON that is cut off or broken"
            raise faults.failed(endpoint, fault) from error
        check_no_error(endpoint, body, self.text)
        return body


def check_no_error(endpoint: Endpoint, body: Any, text: str) -> None:
    """Raises EndpointFailed where a body with status 200 is an error."""
    said = faults.error_in(body)
    if said is None:
        return
    memory = faults.out_of_memory(endpoint, text, said)
    raise memory or faults.failed(endpoint, f"answered 200 with an error: {said.rstrip('.')}")


@cache
def tls() -> ssl.SSLContext:
    """Trusts what SSL_CERT_FILE says, or the authorities that come with the app; once, because
    reading them takes longer than a request."""
    return httpx.create_ssl_context()


def limit_s(endpoint: Endpoint, audio_s: float) -> float:
    """Seconds for the whole of an answer."""
    return endpoint.timeout_s + endpoint.timeout_per_audio_s * audio_s


@contextmanager
def explained(endpoint: Endpoint, whole_s: float) -> Iterator[None]:
    """Errors of the network as errors of ours."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        fault = f"cannot be reached within {CONNECT_S:g} s"
        raise faults.failed(endpoint, fault, UNREACHABLE) from error
    except TimeoutError as error:
        raise faults.failed(
            endpoint,
            f"did not answer within {whole_s:.0f} s",
            "It hangs, or is slower than its time-outs allow: System → Speech endpoints.",
        ) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
        raise faults.failed(endpoint, f"has an address that cannot be used: {error}") from error
    except (httpx.TransportError, OSError) as error:
        raise _network_error(endpoint, error) from error


def _network_error(endpoint: Endpoint, error: BaseException) -> SubtitleError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            problem = getattr(cause, "verify_message", "") or cause.reason or str(cause)
            fault = f"has a TLS certificate or connection that is not trusted: {problem}"
            return faults.failed(endpoint, fault, CERTIFICATE)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError | ConnectionRefusedError):
        return faults.failed(endpoint, f"cannot be reached: {error}", UNREACHABLE)
    if isinstance(error, httpx.RemoteProtocolError):
        return faults.failed(endpoint, f"broke off its answer: {error}")
    return faults.failed(endpoint, f"lost the connection: {str(error) or type(error).__name__}")


async def exchange(
    endpoint: Endpoint,
    method: str,
    url: str,
    *,
    audio_s: float = 0.0,
    fields: Mapping[str, Any] | None = None,
    files: Mapping[str, tuple[str, bytes, str]] | None = None,
    query: Mapping[str, str] | None = None,
) -> Reply:
    """Ask, and take the answer.

    Raises:
        EndpointFailed, EndpointBusy, EndpointRefused: there is no answer with status 200.
    """
    headers = {"Accept-Encoding": "identity"}
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key}"
    whole_s = limit_s(endpoint, audio_s)
    with explained(endpoint, whole_s):
        async with (
            asyncio.timeout(whole_s),
            httpx.AsyncClient(
                verify=tls(),
                trust_env=False,
                follow_redirects=False,
                timeout=httpx.Timeout(None, connect=min(CONNECT_S, whole_s)),
            ) as client,
            client.stream(
                method,
                httpx.URL(url).copy_merge_params(query or {}),
                headers=headers,
                data=fields,
                files=files,
            ) as response,
        ):
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    fault = f"answered with more than {MAX_ANSWER_BYTES >> 20} MiB"
                    raise faults.failed(endpoint, fault)
    if response.status_code != 200:
        raise faults.answer_error(endpoint, response.status_code, response.headers, bytes(body))
    content_type = response.headers.get("content-type", "")
    return Reply(content_type, bytes(body).decode("utf-8", "replace"))
