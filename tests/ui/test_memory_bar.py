from __future__ import annotations

import re

import pytest

from ui.memory_bar import COLOURS, memory_bar

PARTS = {"weights": 3000.0, "caches": 500.0}


def widths(markup: str) -> list[float]:
    return [
        float(width) for width in re.findall(r'class="piece [^"]*" style="width:([\d.]+)%', markup)
    ]


def test_parts_are_as_wide_as_their_share_of_the_card() -> None:
    assert widths(memory_bar("Card", PARTS, 7000)) == pytest.approx([42.857, 7.143])


def test_what_others_hold_comes_first() -> None:
    markup = memory_bar("Card", PARTS, 10_000, used={"other program": 1000})
    assert widths(markup) == [10, 30, 5]
    assert markup.index("other program") < markup.index("weights")
    assert "4,500 MiB (45% of the card)" in markup


def test_the_rest_is_free_and_in_the_legend() -> None:
    markup = memory_bar("Card", PARTS, 8192)
    assert 'class="swatch free"' in markup
    assert "4,692 MiB" in markup
    assert "free</span>" in markup


def test_too_much_is_marked_where_the_card_ends() -> None:
    markup = memory_bar("Card", PARTS, 2800, error=0.1)
    assert "memory-over" in markup
    assert 'class="card-end" style="left:80.000%"' in markup
    assert "700 MiB too much" in markup
    assert "free" not in re.sub("<[^>]*>", "", markup)
    assert sum(widths(markup)) == pytest.approx(100)


def test_it_is_said_in_words_for_who_cannot_see_it() -> None:
    markup = memory_bar("Card", PARTS, 8192)
    (words,) = re.findall(r'role="img" aria-label="([^"]*)"', markup)
    assert words == (
        "Card: weights 3,000 MiB, caches 500 MiB. Together 3,500 MiB of the card&#x27;s"
        " 8,192 MiB, 4,692 MiB free."
    )


def test_the_error_is_a_span_around_the_end_of_ours() -> None:
    markup = memory_bar("Card", {"weights": 1000}, 4000, used={"others": 1000}, error=0.1)
    assert 'class="error" style="left:47.500%;width:5.000%"' in markup
    assert "± 10%" in markup


def test_the_error_ends_with_the_bar() -> None:
    assert "left:90.000%;width:10.000%" in memory_bar("Card", {"weights": 1000}, 1000, error=0.1)


def test_nothing_of_a_name_is_markup() -> None:
    name = '<img src=x onerror="alert(1)">\u202e'
    markup = memory_bar(name, {name: 10}, 100, used={name: 10})
    assert "<img" not in markup
    assert "\u202e" not in markup
    assert 'onerror="' not in markup


def test_empty_parts_are_left_out() -> None:
    assert widths(memory_bar("Card", {"weights": 10, "nothing": 0}, 100)) == [10]


def test_more_parts_than_colours_begin_again() -> None:
    markup = memory_bar("Card", {f"part {n}": 1.0 for n in range(COLOURS + 1)}, 100)
    assert markup.count('class="piece part-0"') == 2
