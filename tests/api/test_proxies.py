"""Behind a proxy and without one: whom to believe, and where the app is."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from api.proxies import Proxies
from core.settings import Settings

PROXY, STRANGER = "10.0.0.1", "203.0.113.7"


def seen(address: str, headers: dict[str, str], path: str = "/where", **fields: Any) -> Any:
    app = FastAPI()

    @app.get("/where")
    def where(request: Request) -> dict[str, Any]:
        return {
            "client": request.client.host if request.client else None,
            "url": str(request.url),
            "root": request.scope["root_path"],
            "headers": {k: v for k, v in request.headers.items() if "forwarded" in k or "x-" in k},
        }

    app.add_middleware(Proxies, settings=Settings(trusted_proxies=f"{PROXY},10.1.0.0/16", **fields))
    client = TestClient(app, "http://app", client=(address, 1), follow_redirects=False)
    return client.get(path, headers=headers)


FORWARDED = {
    "X-Forwarded-For": "198.51.100.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "subs.example",
    "X-Gradio-Server": "http://attacker.example",
    "Forwarded": "for=198.51.100.1",
}


def test_a_stranger_cannot_pretend_to_be_a_proxy() -> None:
    found = seen(STRANGER, FORWARDED).json()
    assert found == {"client": STRANGER, "url": "http://app/where", "root": "", "headers": {}}


@pytest.mark.parametrize("proxy", [PROXY, "10.1.2.3"])
def test_a_trusted_proxy_is_believed(proxy: str) -> None:
    found = seen(proxy, FORWARDED).json()
    assert found["client"] == "198.51.100.1"
    assert found["url"] == "https://subs.example/where"
    assert set(found["headers"]) == {"x-forwarded-for", "x-forwarded-proto"}


def test_the_client_is_the_last_that_no_proxy_of_ours_added() -> None:
    chain = {"X-Forwarded-For": f"127.0.0.1, 198.51.100.1, {PROXY}"}
    assert seen(PROXY, chain).json()["client"] == "198.51.100.1"


@pytest.mark.parametrize("root_path", ["/subs", "subs", "/subs/"])
@pytest.mark.parametrize("path", ["/where", "/subs/where"])
def test_a_prefix_is_understood_cut_off_or_not(root_path: str, path: str) -> None:
    found = seen(PROXY, {}, path, root_path=root_path).json()
    assert (found["root"], found["url"]) == ("/subs", "http://app/subs/where")


def test_the_prefix_alone_is_the_page() -> None:
    answer = seen(PROXY, {}, "/subs", root_path="/subs")
    assert (answer.status_code, answer.headers["location"]) == (308, "/subs/")
    assert seen(PROXY, {}, "/subsidy", root_path="/subs").status_code == 404
