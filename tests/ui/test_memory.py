"""The tab Memory, in the markup and in a real browser."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.settings import Settings
from gpu.manager import Released
from gpu.nvml import GpuProcess
from gpu.plan import PlanQuery, card_of_size, plan_memory
from tests.apps import App
from tests.gpu.fake_nvml import Card, FakeNvml, Process
from tests.waiting import eventually
from ui.memory_tab import MemoryTab
from ui.memory_view import plan_view, unloaded_view
from ui.options import model_choices


def test_parts_others_and_every_model_are_shown() -> None:
    other = GpuProcess(pid=4321, name="<b>blender</b>", used_mib=2600)
    busy = replace(card_of_size(8, "GPU 0"), free_mib=5592.0, holders=(other,))
    html = plan_view(plan_memory(PlanQuery(model="large-v3"), busy), 16.4, None)
    assert "held by &lt;b&gt;blender&lt;/b&gt; (pid 4321)" in html
    assert "2,600 MiB" in html
    for part in ("weights", "cross-attention cache", "self-attention cache", "logits"):
        assert part in html
    assert "Tasks at once on this GPU: 1." in html
    assert "openai-whisper on PyTorch would take 16.4 GB" in html
    assert 'aria-label="too large">✗' in html
    assert "<b>" not in html


def test_what_does_not_fit_comes_with_what_would() -> None:
    html = plan_view(
        plan_memory(PlanQuery(model="large-v3", batch_size=16), card_of_size(4)), None, None
    )
    assert "plan-verdict fit-too-large" in html
    assert "What would fit" in html
    assert "PyTorch" not in html


@pytest.fixture
def tab(monkeypatch: pytest.MonkeyPatch) -> MemoryTab:
    """Without its controls: what it answers."""
    FakeNvml([Card(total_mib=8192, processes=[Process(7, 2000, "blender")])]).install(monkeypatch)
    made = MemoryTab.__new__(MemoryTab)
    made._settings = Settings(_env_file=None)  # type: ignore[call-arg]
    return made


VALUES = ("auto", "8", "auto", "transcribe", 0, 5, 1, 60)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({1: "here:0"}, "held by blender (pid 7)"),
        ({1: "here:9"}, "This GPU is no longer there"),
        ({1: "a lot"}, "is not an amount of GPU memory"),
        ({1: "12,5 GB"}, "a card of 12.5 GB"),
        ({0: "turbo", 3: "translate"}, "cannot translate"),
        ({4: None, 5: None, 6: None, 7: None}, "fits a card of 8 GB"),
        ({4: 1.5}, "is not a whole number"),
        ({2: "int4"}, "This app cannot run int4; the nearest it has is int8."),
        ({2: "int8"}, "The length of a segment does not change the memory"),
    ],
)
def test_form_is_answered_whatever_it_says(
    tab: MemoryTab, changed: dict[int, object], says: str
) -> None:
    values = [changed.get(place, value) for place, value in enumerate(VALUES)]
    assert says in tab.show(*values)  # type: ignore[arg-type]


def test_strangers_do_not_see_what_else_runs(tab: MemoryTab) -> None:
    tab._settings = tab._settings.model_copy(update={"host": "0.0.0.0", "access": "open"})
    html = tab.show("auto", "here:0", "auto", "transcribe", 0, 5, 1, 60)
    assert "held by others" in html
    assert "blender" not in html


def test_list_of_models_marks_what_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    FakeNvml([Card(total_mib=2048)]).install(monkeypatch)
    labels = {name: label for label, name in model_choices(Settings(models_dir=tmp_path))}
    assert labels["large-v3"].endswith(", too large)")
    assert labels["large-v3-turbo"].endswith(", int8_float16 on GPU 0)")
    assert "large" not in labels["tiny"]


def test_bar_follows_the_form(page: Page) -> None:
    page.get_by_role("tab", name="Memory").click()
    verdict = page.locator("#memory .plan-verdict")
    verdict.get_by_text("large-v3-turbo (float16, batch 12) fits a card of 8 GB").wait_for()
    bar = page.locator("#memory [role=img]").first
    expect(bar).to_have_attribute("aria-label", re.compile("weights 1,543 MiB"))
    page.locator("#memory-model input").click()
    page.get_by_role("option", name="large-v3", exact=True).click()
    verdict.get_by_text("large-v3 (float16, batch 8) fits a card of 8 GB").wait_for()
    expect(bar).to_have_attribute("aria-label", re.compile("weights 2,944 MiB"))
    page.locator("#memory-card input").fill("2.2")
    page.locator("#memory-card input").press("Enter")
    verdict.get_by_text("does not fit a card of 2.2 GB").wait_for()
    page.get_by_text("Run large-v3 on the CPU").wait_for()


def test_button_gives_memory_back(page: Page, app: App) -> None:
    def states() -> set[str]:
        return {worker["state"] for worker in app.get("/health")[1]["workers"]}

    eventually(lambda: states() == {"idle"}, "earlier jobs have ended")
    page.get_by_role("tab", name="Memory").click()
    page.get_by_role("button", name="Unload idle models").click()
    told = page.locator("#unloaded")
    told.get_by_text("The next job loads its model again.").wait_for()
    assert re.search(r"CPU 0: \S+ unloaded", told.inner_text())
    assert app.get("/ready")[0] == 200
    assert not any(worker["model"] for worker in app.get("/health")[1]["workers"])


def test_devices_are_told_one_by_one_and_escaped() -> None:
    found = (
        Released("GPU 0", "unloaded", "<b>large</b>", 3021.4),
        Released("GPU 1", "busy", "base"),
        Released("GPU 2", "empty"),
    )
    html = unloaded_view(found)
    assert "GPU 0: &lt;b&gt;large&lt;/b&gt; unloaded, 3,021 MiB freed." in html
    assert "GPU 1: base stays loaded because a job needs it." in html
    assert "GPU 2: no model was loaded." in html
    assert "loads its model again" not in unloaded_view(found[1:])
    assert "No model is loaded: no job has run yet." in unloaded_view(())
