"""The service as tools of an assistant: the protocol's own client against a running app."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent

from access.credentials import ApiKeys
from core.settings import Settings
from jobs.options import OPTIONS
from tests.apps import App, running_app
from tests.jobs.recordings import SHORT, SHORT_TEXT
from tests.spoken import word_errors
from tests.waiting import PATIENCE_S


@dataclass(frozen=True, slots=True)
class Guarded:
    """An app that asks for a login."""

    app: App
    key: str

    @asynccontextmanager
    async def assistant(self) -> AsyncIterator[ClientSession]:
        async with (
            httpx.AsyncClient(headers=self.headers, timeout=PATIENCE_S, trust_env=False) as http,
            streamable_http_client(f"{self.app.url}/mcp", http_client=http) as (get, put, _),
            ClientSession(get, put) as session,
        ):
            await session.initialize()
            yield session

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, tiny_en: Path) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("app")
    key = ApiKeys(Settings(data_dir=folder / "data")).add("assistant")
    with running_app(folder, WHISPER_WORKERS="1", WHISPER_ACCESS="login") as app:
        yield Guarded(app, key)


async def text_of(session: ClientSession, tool: str, **arguments: Any) -> str:
    answer = await session.call_tool(tool, arguments)
    (content,) = answer.content
    assert isinstance(content, TextContent)
    assert not answer.isError, content.text
    return content.text


async def refusal(session: ClientSession, tool: str, **arguments: Any) -> str:
    answer = await session.call_tool(tool, arguments)
    (content,) = answer.content
    assert isinstance(content, TextContent)
    assert answer.isError
    return content.text


def test_an_assistant_transcribes_waits_and_reads(guarded: Guarded) -> None:
    async def conversation() -> tuple[dict[str, Any], dict[str, Any], str]:
        async with guarded.assistant() as session:
            audio = base64.b64encode(SHORT.read_bytes()).decode()
            begun = json.loads(
                await text_of(session, "transcribe", audio=audio, name="talk.flac", language="en")
            )
            job = begun
            while not job["ended"]:
                job = json.loads(await text_of(session, "job", id=begun["id"], wait_s=60))
            return begun, job, await text_of(session, "subtitles", id=begun["id"], format="txt")

    begun, job, said = asyncio.run(conversation())
    assert (job["id"], job["state"], job["name"]) == (begun["id"], "complete", "talk.flac")
    assert word_errors(SHORT_TEXT, said).wer <= 0.5
    # It is a job of the key's like any other.
    listed = httpx.get(f"{guarded.app.url}/api/jobs", headers=guarded.headers, trust_env=False)
    assert [one["id"] for one in listed.json()["jobs"]] == [begun["id"]]


def test_the_tools_are_these_and_describe_every_option(guarded: Guarded) -> None:
    async def listed() -> dict[str, dict[str, Any]]:
        async with guarded.assistant() as session:
            return {tool.name: tool.inputSchema for tool in (await session.list_tools()).tools}

    tools = asyncio.run(listed())
    assert set(tools) == {"transcribe", "job", "subtitles"}
    assert set(OPTIONS) < set(tools["transcribe"]["properties"])


def test_what_cannot_work_is_explained(guarded: Guarded) -> None:
    async def refusals() -> list[str]:
        async with guarded.assistant() as session:
            return [
                await refusal(session, "transcribe"),
                await refusal(session, "transcribe", url="https://example.org/", model="nonsense"),
                await refusal(session, "transcribe", url="http://169.254.169.254/latest"),
                await refusal(session, "transcribe", audio="no base64!"),
                await refusal(session, "transcribe", audio="", webhook="https://example.org/"),
                await refusal(session, "transcribe", unknown=1),
                await refusal(session, "job", id="nothing"),
                await refusal(session, "subtitles", id="nothing"),
            ]

    said = asyncio.run(refusals())
    wanted = (
        "either",
        "Unknown model",
        "site",
        "base64",
        "webhooks",
        "unknown",
        "no job",
        "no job",
    )
    for text, word in zip(said, wanted, strict=True):
        assert word in text


def test_nobody_gets_in_without_a_login(guarded: Guarded) -> None:
    url, body = f"{guarded.app.url}/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = httpx.post(url, json=body, headers={**accept, **headers}, trust_env=False)
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "LoginNeeded")
    foreign = {**accept, "Origin": "https://evil.example"}
    assert httpx.post(url, json=body, headers=foreign, trust_env=False).status_code == 403
