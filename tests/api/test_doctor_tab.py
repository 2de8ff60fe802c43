"""Who is offered the tab that shows what the machine is made of."""

from __future__ import annotations

from tests.api.conftest import HERE, House


def tabs(config: dict[str, object]) -> set[object]:
    components = config["components"]
    assert isinstance(components, list)
    return {each["props"].get("label") for each in components if each["type"] == "tabitem"}


def test_where_everybody_comes_in_there_is_no_doctor(open_house: House) -> None:
    seen = tabs(open_house.client().get("/config").json())
    assert "Jobs" in seen
    assert "Doctor" not in seen


def test_who_is_known_may_ask_the_doctor(private: House, locked: House) -> None:
    here = private.client(HERE, "127.0.0.1:7860")
    assert "Doctor" in tabs(here.get("/config").json())
    assert "Doctor" in tabs(locked.browser().get("/config").json())
    assert locked.client().get("/config").status_code in (303, 401)
