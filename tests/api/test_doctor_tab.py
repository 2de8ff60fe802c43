"""Who is offered the tab that shows what the machine is made of."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import HERE, Site


def tabs(config: dict[str, object]) -> set[object]:
    components = config["components"]
    assert isinstance(components, list)
    return {each["props"].get("label") for each in components if each["type"] == "tabitem"}


def test_where_everybody_comes_in_there_is_no_doctor(open_site: Site) -> None:
    seen = tabs(open_site.client().get("/config").json())
    assert "Jobs" in seen
    assert "Doctor" not in seen


def test_who_is_known_may_ask_the_doctor(private: Site, locked: Site) -> None:
    here = private.client(HERE, "127.0.0.1:7860")
    assert "Doctor" in tabs(here.get("/config").json())
    assert "Doctor" in tabs(locked.browser().get("/config").json())
    assert locked.client().get("/config").status_code in (303, 401)


def test_where_everybody_comes_in_nobody_is_offered_to_unload(
    private: Site, open_site: Site
) -> None:
    def buttons(config: dict[str, Any]) -> set[object]:
        return {e["props"].get("value") for e in config["components"] if e["type"] == "button"}

    here = private.client(HERE, "127.0.0.1:7860")
    assert "Unload idle models" in buttons(here.get("/config").json())
    assert "Unload idle models" not in buttons(open_site.client().get("/config").json())
