"""``/metrics``: who reads it, and that its labels are ours alone."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from access.credentials import ApiKeys, Users
from api.access import Access
from api.sessions import Cookies
from core.errors import InvalidOption
from core.settings import Settings
from tests.api.conftest import ELSEWHERE, HERE, MakeSite, Site

TOKEN = "a-token-for-prometheus"
INSIDE = ("10.0.5.7", 50_000)


@pytest.fixture(scope="module")
def scraped(site_of: MakeSite) -> Site:
    """Listens to everybody; metrics by token and for one network."""
    return site_of(host="0.0.0.0", metrics_token=TOKEN, metrics_networks=("10.0.5.0/24",))


def samples(text: str) -> dict[str, float]:
    """Values by the sample's whole name, labels included."""
    return {
        f"{one.name}{sorted(one.labels.items())}": one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_a_token_opens_metrics_and_nothing_else(scraped: Site) -> None:
    prometheus = scraped.client(Authorization=f"Bearer {TOKEN}")
    answer = prometheus.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert prometheus.get("/api/jobs").status_code == 401
    for stranger in (scraped.client(), scraped.client(Authorization="Bearer wrong")):
        refused = stranger.get("/metrics", headers={"Accept": "text/html"})
        assert refused.status_code == 401
        assert "WHISPER_METRICS_TOKEN" in refused.json()["error"]["hint"]


def test_neither_a_login_nor_a_key_nor_a_visit_is_enough(locked: Site, open_site: Site) -> None:
    for client in (locked.browser(), locked.program(), open_site.client(), open_site.client(HERE)):
        assert client.get("/metrics").status_code == 401


def test_an_admitted_network_needs_no_token_and_no_proxy_speaks_for_it(scraped: Site) -> None:
    assert scraped.client(INSIDE).get("/metrics").status_code == 200
    assert scraped.client(("::ffff:10.0.5.7", 1)).get("/metrics").status_code == 200
    assert scraped.client(ELSEWHERE).get("/metrics").status_code == 401
    passed_on = scraped.client(INSIDE, X_Forwarded_For="203.0.113.7")
    assert passed_on.get("/metrics").status_code == 401
    claimed = scraped.client(HERE, X_Forwarded_For="10.0.5.7")
    assert claimed.get("/metrics").status_code == 401


def test_a_service_of_this_machine_alone_admits_it(private: Site) -> None:
    assert private.client(HERE, "127.0.0.1").get("/metrics").status_code == 200
    # DNS rebinding: a page of another site asks by its own name.
    assert private.client(HERE, "evil.example").get("/metrics").status_code == 401
    assert private.client(ELSEWHERE, "127.0.0.1").get("/metrics").status_code == 401


def test_a_network_that_is_none_is_refused_at_the_start(private: Site) -> None:
    settings = Settings(metrics_networks=("10.0.5",), data_dir=private.service.settings.data_dir)
    users = Users(settings)
    with pytest.raises(InvalidOption, match="WHISPER_METRICS_NETWORKS"):
        Access(private.app, settings, users, ApiKeys(settings), Cookies(settings, users))


def test_requests_are_counted_by_template_and_no_path_of_a_user_becomes_a_label(
    private: Site,
) -> None:
    here = private.client(HERE, "127.0.0.1")

    def counted() -> dict[str, float]:
        return samples(here.get("/metrics").text)

    def requests(route: str, code: int, method: str = "GET") -> str:
        labels = [("code", str(code)), ("method", method), ("route", route)]
        return f"whisper_http_requests_total{labels}"

    before = counted()
    here.get("/api/jobs/hunter2-secret")
    here.get("/hunter2-secret")
    here.request("HUNTER2", "/api/jobs")
    private.client().get("/api/jobs")
    here.get("/gradio_api/info")
    after = counted()
    for sample in (
        requests("/api/jobs/{job_id}", 404),
        requests("none", 404),
        requests("none", 403),
        requests("/metrics", 200),
        requests("/gradio_api/info", 200),
    ):
        assert after[sample] >= before.get(sample, 0.0) + 1, sample
    assert not [name for name in after if "hunter2" in name.lower()]
    duration = (
        "whisper_http_request_duration_seconds_count[('method', 'GET'), ('route', '/metrics')]"
    )
    assert after[duration] > before.get(duration, 0.0)
