"""How subtitles are to look, and what each shortcoming costs: every number of the layout.

Breaks are chosen by the lowest total cost. A cost is a dimensionless weight; only the ratios
matter. Read them as prices: a cue more costs ``cue_cost``, so two phrases are joined in one cue
when everything wrong with joining them costs less than that plus the break between them.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import InvalidOption


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakCosts:
    """Price of ending a line or a cue at a place, by what stands there; lower is a better break."""

    sentence: float = 0.0
    clause: float = 6.0
    segment: float = 4.0
    """Unspaced script, between two segments: in Chinese, Whisper often leaves punctuation out and
    its segments are the sentences. In spaced scripts it cuts them by length: worth nothing."""
    conjunction: float = 18.0
    """Before and, but, because, which …"""
    phrase: float = 26.0
    """Before a preposition or an article."""
    plain: float = 40.0
    bound: float = 70.0
    """After an article, preposition, auxiliary …: words that belong to the next one."""
    name: float = 60.0
    """Between two capitalised words or a number and its noun."""
    boundary_ideograph: float = 30.0
    """Unspaced script where a new word probably begins (after a particle, hiragana to kanji)."""
    inside_ideograph: float = 60.0
    """Unspaced script, anywhere else: there is no dictionary, so it may be inside a word."""
    bound_ideograph: float = 85.0
    """Unspaced script, before a particle or inside a katakana or hiragana run."""
    pause_discount: float = 0.75
    """Share of the price that a pause just short of ``pause_s`` takes off a cue break."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutRules:
    """Limits (hard) and weights (soft) of the layout. Times in seconds until a cue is made."""

    max_chars: int = 42
    """Columns of a line; a full-width character takes two, so 21 Chinese characters fit."""
    max_lines: int = 2
    max_cue_s: float = 7.0
    min_cue_s: float = 1.0
    """A cue stays at least this long where the next one leaves room."""
    linger_s: float = 0.5
    """How long a cue stays after its last word when nothing follows at once."""
    min_gap_ms: int = 40
    """Blank between two cues, one frame at 25 fps, so that a change is seen as a change."""
    min_shown_ms: int = 100
    """Floor for words the aligner put on one spot: the next cue waits rather than flash."""
    word_s: float = 0.35
    column_s: float = 0.09
    """A word takes about ``word_s + column_s * width``. What it claims beyond that is a pause the
    aligner gave to it, mostly the silence before it."""
    silence_s: float = 2.0
    """A pause this long always ends a cue, whatever else it costs."""
    pause_s: float = 0.6
    """A pause this long counts as a full stop, and is bad inside a cue."""
    breath_s: float = 0.1
    """After a sentence, a pause of this length is enough to want a new cue."""

    cue_cost: float = 10.0
    """Price of every cue: fewer, fuller cues where nothing speaks for a break."""
    fill_cost: float = 12.0
    """Times the square of the filled share: two even cues rather than a full and a tiny one."""
    line_cost: float = 3.0
    """Price of every further line of a cue."""
    flash_cost: float = 40.0
    """Times the missing share of ``min_cue_s`` where the next cue leaves no room."""
    fragment_cost: float = 25.0
    """A cue of a word or two that neither begins nor ends at a full stop, times missing share."""
    fragment_chars: int = 12
    sentence_inside_cost: float = 16.0
    """Two short sentences in one cue are acceptable; with a breath between them hardly."""
    breath_inside_cost: float = 24.0
    segment_inside_cost: float = 20.0
    """See ``BreakCosts.segment``."""
    pause_inside_cost: float = 40.0
    top_heavy_cost: float = 2.0
    """Per column by which an upper line exceeds its even share (bottom-heavy reads better)."""
    bottom_heavy_cost: float = 1.0
    """Per column by which an upper line falls short of its even share."""
    uneven_chars: int = 20
    """An upper line off by this much costs twice what the linear prices say."""
    stretched_before: float = 0.75
    stretched_after: float = 0.25
    """Share of a word's hidden pause (see ``word_s``) counted on either side of it."""
    hesitation: float = 1.5
    """After an article or preposition a pause is a hesitation: it must be this many times longer
    to count as much."""
    breaks: BreakCosts = BreakCosts()

    tail_units: int = 40
    horizon_units: int = 90
    """After this many words without a long silence all but the last ``tail_units`` are settled:
    bounds both how far a longer transcript can change earlier cues, and the time it takes."""

    def __post_init__(self) -> None:
        if self.max_chars < 10 or self.max_lines < 1:
            raise InvalidOption(
                f"{self.max_lines} lines of {self.max_chars} characters cannot hold a subtitle.",
                hint="Allow at least one line of 10 characters.",
            )
        if not 0 < self.min_cue_s <= self.max_cue_s or self.min_shown_ms < 1:
            raise InvalidOption(
                f"A subtitle cannot last {self.min_cue_s} to {self.max_cue_s} seconds.",
                hint="Choose a shortest time above 0 and not above the longest.",
            )


DEFAULT_RULES = LayoutRules()
