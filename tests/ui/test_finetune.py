"""The tab Fine-tuning: what it shows, and in a real browser that it follows the form."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from core.settings import Settings
from tests.apps import App
from tests.browser import NewProfile
from tests.gpu import fake_nvml
from ui.finetune_tab import CHOSEN, FIELDS, plan_of

SETTINGS = Settings(_env_file=None)  # type: ignore[call-arg]


USUAL: dict[str, Any] = {
    "base_model": "large-v3", "card": "12", "gpus": 1, "method": CHOSEN,
    "per_device_train_batch_size": CHOSEN, "per_device_eval_batch_size": CHOSEN,
    "gradient_accumulation_steps": CHOSEN, "gradient_checkpointing": CHOSEN, "use_8bit": CHOSEN,
    "fp16": True, "max_audio_len": 30, "pad_to_30s": True, "label_tokens": CHOSEN,
    "lora_rank": CHOSEN, "attention": "sdpa",
}  # fmt: skip


def shown(**form: Any) -> str:
    return plan_of(SETTINGS, *(({**USUAL, **form})[name] for name in FIELDS))


def plain(markup: str) -> str:
    return re.sub("<[^>]*>", " ", markup)


def test_a_form_left_alone_becomes_a_plan() -> None:
    markup = shown()
    assert "Fits: 10,447 MiB of 12,288 MiB" in markup
    assert 'role="img"' in markup
    assert "Smaller batches come first" in markup
    assert markup.count("data-copy=") == 4, "the plan and three levels can be copied"


def test_what_is_fixed_is_used() -> None:
    markup = plain(shown(card="80", method="full", per_device_train_batch_size="4",
                         gradient_accumulation_steps="2", use_8bit="no", gpus=2))  # fmt: skip
    assert "large-v3, all weights, batch 4 x 2 x 2 GPUs" in markup
    assert "effective batch 16" in markup
    assert "whole copy" in markup


@pytest.mark.parametrize("typed", ["10", "10 GB", " 10gb ", "10,0"])
def test_gigabytes_may_be_typed(typed: str) -> None:
    assert "of 10,240 MiB" in shown(card=typed)


@pytest.mark.parametrize(
    "form",
    [
        {"card": "many"},
        {"card": ""},
        {"card": None},
        {"card": "nan"},
        {"card": "inf"},
        {"card": "here:7"},
        {"card": "here:x"},
        {"per_device_train_batch_size": "<b>4</b>"},
        {"per_device_train_batch_size": "-4"},
        {"gradient_accumulation_steps": "0"},
        {"label_tokens": "9" * 400},
        {"gpus": 100_000},
        {"method": "full", "use_8bit": "yes"},
        {"base_model": "<script>"},
    ],
    ids=str,
)
def test_what_cannot_be_is_told_in_place_of_the_plan(form: dict[str, Any]) -> None:
    markup = shown(**form)
    assert markup.startswith('<p class="problem" role="alert">')
    assert "<b>" not in markup
    assert "<script>" not in markup


def test_what_does_not_fit_looks_so_and_says_what_would() -> None:
    markup = shown(card="8", method="full")
    assert "memory-over" in markup
    assert "What would fit" in markup


def test_a_card_of_this_machine_is_shown_with_what_others_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = [fake_nvml.Process(4711, 3000, "game")]
    card = fake_nvml.Card(name="<i>RTX</i>", total_mib=12288, processes=held)
    fake_nvml.FakeNvml([card]).install(monkeypatch)
    markup = shown(card="here:0")
    assert "held by others" in markup
    assert "&lt;i&gt;RTX" in markup
    assert "game" not in markup, "what others run is not for visitors"


def open_tab(page: Page) -> None:
    tab = page.get_by_role("tab", name="Fine-tuning")
    tab.click()
    expect(page.locator("#finetune .memory-bar")).to_be_visible()


def choose(page: Page, field: str, label: str) -> None:
    page.locator(f"{field} input").click()
    page.get_by_role("option", name=label, exact=True).click()


def test_the_bar_follows_the_form(page: Page) -> None:
    open_tab(page)
    bar, verdict = page.locator("#finetune .memory-bar"), page.locator("#finetune .plan-verdict")
    expect(verdict).to_contain_text("Fits: 10,447 MiB of 12,288 MiB")
    before = bar.get_attribute("aria-label")
    choose(page, "#finetune-model", "small")
    expect(verdict).not_to_contain_text("10,447")
    assert bar.get_attribute("aria-label") != before
    choose(page, "#finetune-model", "large-v3")
    choose(page, "#finetune-method", "All weights")
    expect(page.locator("#finetune .memory-over")).to_be_visible()
    expect(verdict).to_contain_text("Does not fit")
    expect(page.locator("#finetune .card-end")).to_be_visible()
    card = page.locator("#finetune-card input")
    card.fill("96")
    card.press("Enter")
    expect(verdict).to_contain_text("of 98,304 MiB")
    expect(page.locator("#finetune .memory-over")).to_have_count(0)
    pieces = page.locator("#finetune .memory-bar .piece")
    wide: list[float] = pieces.evaluate_all("all => all.map(one => one.offsetWidth)")
    assert sum(wide) < page.locator("#finetune .memory-bar").evaluate("one => one.offsetWidth")


def test_a_line_of_options_is_copied(profile: NewProfile, app: App) -> None:
    page = profile(permissions=["clipboard-read", "clipboard-write"]).new_page()
    page.goto(app.url)
    open_tab(page)
    button = page.locator("#finetune .levels .command button").first
    button.click()
    expect(button).to_have_text("Copied")
    copied: str = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("--base_model=openai/whisper-large-v3 --method=lora")
    assert "--per_device_train_batch_size=4" in copied


def test_it_fits_a_phone(profile: NewProfile, app: App) -> None:
    page = profile(390, 844).new_page()
    page.goto(app.url)
    page.wait_for_selector("#start")
    tab = page.get_by_role("tab", name="Fine-tuning")
    if not tab.is_visible():
        page.locator("#tabs .overflow-menu button").first.click()
    page.get_by_text("Fine-tuning").last.click()
    expect(page.locator("#finetune .memory-bar")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    right: float = page.locator("#finetune :not(.table *)").evaluate_all(
        "all => Math.max(...all.map(one => one.getBoundingClientRect().right))"
    )
    assert right <= 390, "nothing is cut off"
