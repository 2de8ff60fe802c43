"""Giving memory back over HTTP: who may ask, what is answered, and that the app stays healthy."""

from __future__ import annotations

import pytest

from tests.api.conftest import HERE, MakeSite, Site
from tests.waiting import eventually

ROUTE = "/api/models/unload"


def test_before_the_first_job_there_is_nothing_to_unload(private: Site) -> None:
    answer = private.client(HERE, "127.0.0.1:7860").post(ROUTE)
    assert (answer.status_code, answer.json()) == (200, {"devices": [], "freed_mib": 0.0})


def test_strangers_may_not_make_others_wait(open_site: Site) -> None:
    answer = open_site.client().post(ROUTE)
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "NotAllowed"
    assert "Authorization: Bearer" in answer.json()["error"]["hint"]
    assert open_site.program().post(ROUTE).status_code == 200


def test_who_is_known_may_ask(locked: Site, private: Site) -> None:
    assert locked.client().post(ROUTE).status_code == 401
    assert locked.program().post(ROUTE).status_code == 200
    assert locked.browser().post(ROUTE).status_code == 200
    foreign = private.client(HERE, "127.0.0.1:7860", Origin="https://attacker.example")
    assert foreign.post(ROUTE).status_code == 403
    assert locked.program().get(ROUTE).status_code in (404, 405)


def test_an_app_whose_model_was_unloaded_stays_ready(site_of: MakeSite, tiny_en: object) -> None:
    site = site_of()
    client = site.client(HERE, "127.0.0.1:7860")
    assert client.get("/ready").status_code == 503
    site.service.preload()
    assert client.get("/ready").status_code == 200
    body = client.post(ROUTE).json()
    (device,) = body["devices"]
    assert (device["device"], device["outcome"], device["model"]) == (
        "CPU 0",
        "unloaded",
        "tiny.en",
    )
    assert body["freed_mib"] == device["freed_mib"] > 20
    health = client.get("/health")
    assert (health.status_code, client.get("/ready").status_code) == (200, 200)
    (worker,) = health.json()["workers"]
    assert (worker["state"], worker["model"], worker["unloaded"]) == ("idle", None, True)
    site.service.preload()
    (worker,) = client.get("/health").json()["workers"]
    assert (worker["model"], worker["unloaded"]) == ("tiny.en", False)


def test_the_setting_reaches_the_workers(site_of: MakeSite, tiny_en: object) -> None:
    site = site_of(unload_after_s=0.05)
    site.service.preload()
    eventually(lambda: site.service.health().workers[0].unloaded, "the idle time is over")
    assert site.client().get("/ready").status_code == 200


@pytest.mark.parametrize("path", ["/api/models", "/api/models/", "/api/models/unload/x"])
def test_nothing_else_is_there(private: Site, path: str) -> None:
    assert private.client(HERE, "127.0.0.1:7860").post(path).status_code == 404
