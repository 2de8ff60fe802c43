"""The tables of memory, and that the page shows them as they are calculated."""

from __future__ import annotations

from pathlib import Path

from bench.memory import PLOT, guide_tables, plot, published_rows, table
from bench.published_peaks import PUBLISHED
from tests.conftest import ROOT


def test_page_has_the_published_table_as_it_is_calculated() -> None:
    page = (ROOT / "docs" / "gpu-memory.md").read_text(encoding="utf-8")
    assert table(published_rows()) in page
    assert f"({PLOT.relative_to('docs')})" in page


def test_page_has_the_guides_tables_as_they_are_calculated() -> None:
    page = (ROOT / "docs" / "gpu-memory.md").read_text(encoding="utf-8")
    for each in guide_tables():
        assert each in page


def test_rows_that_are_off_are_explained_there() -> None:
    page = (ROOT / "docs" / "gpu-memory.md").read_text(encoding="utf-8")
    explained = page[page.index("Rows that differ, and why") :]
    for each, row in zip(PUBLISHED, published_rows(), strict=True):
        if abs(row.off) > 0.10:
            assert each.source.split(",")[0] in explained, each


def test_plot_changes_only_with_the_figures(tmp_path: Path) -> None:
    """Otherwise every run would be a change to commit."""
    for name in ("one.svg", "two.svg"):
        plot(published_rows(), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
