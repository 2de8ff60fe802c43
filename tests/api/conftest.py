"""The real app over a real job service, in this process: one for each way of letting people in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from access.credentials import ApiKeys, Users
from app import create_app
from core.settings import Settings
from jobs.service import JobService

HERE = ("127.0.0.1", 50_000)
ELSEWHERE = ("203.0.113.7", 50_000)

USER, PASSWORD = "alice", "correct horse battery"


@dataclass(frozen=True, slots=True)
class Site:
    """An app, its service, and an API key that opens it."""

    app: FastAPI
    service: JobService
    key: str

    def client(
        self, address: tuple[str, int] = ELSEWHERE, host: str = "subs.example", **headers: str
    ) -> TestClient:
        """A browser or program at that address that has asked for that host. Follows nothing."""
        return TestClient(
            self.app,
            base_url=f"http://{host}",
            client=address,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            follow_redirects=False,
            raise_server_exceptions=False,
        )

    def program(self) -> TestClient:
        return self.client(Authorization=f"Bearer {self.key}")

    def browser(self) -> TestClient:
        """Somebody who has logged in."""
        client = self.client(Origin="http://subs.example")
        answer = client.post("/login", data={"user": USER, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return client


MakeSite = Callable[..., Site]


async def built(settings: Settings, service: JobService) -> FastAPI:
    """The app. Outside of an event loop Gradio makes some of its own and leaves them behind."""
    return create_app(settings, service)


@pytest.fixture(scope="session")
def site_of(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[MakeSite]:
    with ExitStack() as stack:

        def make(**fields: Any) -> Site:
            settings = Settings(
                model="tiny.en",
                device="cpu",
                workers=1,
                beam_size=1,
                models_dir=models_dir,
                **{"data_dir": tmp_path_factory.mktemp("site"), **fields},
            )
            Users(settings).add(USER, PASSWORD)
            key = ApiKeys(settings).add("bot")
            service = stack.enter_context(JobService(settings))
            return Site(asyncio.run(built(settings, service)), service, key)

        yield make


@pytest.fixture(scope="session")
def locked(site_of: MakeSite) -> Site:
    """Listens to everybody and asks for a login."""
    return site_of(host="0.0.0.0")


@pytest.fixture(scope="session")
def open_site(site_of: MakeSite) -> Site:
    """Listens to everybody and lets everybody in."""
    return site_of(host="0.0.0.0", access="open")


@pytest.fixture(scope="session")
def private(site_of: MakeSite) -> Site:
    """Listens to this machine alone."""
    return site_of()
