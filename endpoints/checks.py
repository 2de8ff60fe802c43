"""What an answer is worth, judged by the clip's speech: pure arithmetic on text and times.

A fault is one phrase that goes on with "Endpoint NAME …". A server whose answer has one is not
believed, and its clip is decoded elsewhere: a wrong subtitle is worse than a late one.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.types import SpeechSpan
from decoding.quality import MAX_COMPRESSION_RATIO, compression_ratio, loops
from endpoints.heard import Heard, HeardPart, HeardWord, is_dense

LONG_SPEECH_S = 8.0
"""So much speech has words. Less may be a cough, a laugh or a cheer that the VAD takes for it."""

WORDS_PER_S, DENSE_PER_S = 7.0, 12.0
"""Words, and characters of scripts without spaces, that nobody says in a second; the fastest
speakers keep up five and eight."""

UNHEARD_S = 2.0
"""Speech that the VAD may miss in a clip."""

EDGE_S = 1.0
"""How far honest times are off: servers pad clips, and round."""

FAR_S = 1.0
"""A word further than this from all speech stands in silence …"""

FAR_SHARE = 0.5
FAR_WORDS = 4
"""… and when so many of an answer's words do, its times are invented."""

BURST_WORDS, BURST_S = 10, 0.8
"""Nobody says so many words in so short a time."""

SPARSE = 0.15
"""Share of the speech that the fastest speaker would need for a text; ordinary speech has 0.35. So
little text is looked at: what is invented is often one short sentence for a whole clip."""

MIN_TEXT_PROBABILITY = 0.25
"""Mean probability of the words by the local model under which they are not what is said. Measured
on read speech with tiny.en and base: its own text 0.64–0.91, under noise as loud as the speech
0.44–0.68; texts of other clips of the same book 0.02–0.18."""


def fault_of(heard: Heard, duration_s: float, spans: Sequence[SpeechSpan]) -> str | None:
    """What is wrong with an answer; None: nothing that can be seen in it.

    ``spans`` is the clip's speech on the clip's clock.
    """
    speech_s = sum(span.duration_s for span in spans)
    text = heard.text
    if not text:
        if speech_s >= LONG_SPEECH_S:
            return f"heard nothing in {speech_s:.0f} s of speech"
        return None
    if compression_ratio(text) > MAX_COMPRESSION_RATIO or loops(text):
        return f"fell into a loop: “{text[:60]}…”"
    needed_s = spoken_s(text)
    if needed_s > speech_s + UNHEARD_S:
        return (
            f"gave more text than can be spoken in {speech_s:.1f} s of speech, perhaps another"
            f" recording's: “{text[:60]}…”"
        )
    return times_fault(heard.words or heard.parts, duration_s, spans)


def is_sparse(text: str, spans: Sequence[SpeechSpan]) -> bool:
    """Whether there is less text than the speech should give."""
    return spoken_s(text) < SPARSE * sum(span.duration_s for span in spans)


def spoken_s(text: str) -> float:
    """Seconds that the fastest speaker takes to say it."""
    dense = sum(map(is_dense, text))
    words = len("".join(" " if is_dense(each) else each for each in text).split())
    return words / WORDS_PER_S + dense / DENSE_PER_S


def times_fault(
    times: Sequence[HeardWord] | Sequence[HeardPart],
    duration_s: float,
    spans: Sequence[SpeechSpan],
) -> str | None:
    """How the times of words or of sentences contradict the clip."""
    lies = "lies about times: "
    for each in times:
        if each.start_s < -EDGE_S or each.start_s > duration_s + EDGE_S:
            return f"{lies}text at {each.start_s:.1f} s of a clip of {duration_s:.1f} s"
        if each.end_s < each.start_s - EDGE_S:
            return f"{lies}text that ends at {each.end_s:.1f} s, before it begins"
    words = [each for each in times if isinstance(each, HeardWord)]
    # A sentence may end with the 30 s to which servers pad; a word may not.
    late = next((word for word in words if word.end_s > duration_s + EDGE_S), None)
    if late is not None:
        return f"{lies}a word until {late.end_s:.1f} s of a clip of {duration_s:.1f} s"
    reached_s = 0.0
    for each in times:
        if each.start_s < reached_s - EDGE_S:
            return f"{lies}they go back from {reached_s:.1f} s to {each.start_s:.1f} s"
        reached_s = max(reached_s, each.start_s)
    for first, last in zip(words, words[BURST_WORDS - 1 :], strict=False):
        if last.end_s - first.start_s < BURST_S:
            return f"{lies}{BURST_WORDS} words in {last.end_s - first.start_s:.1f} s"
    far = sum(_far(word, spans) for word in words)
    if far >= FAR_WORDS and far > FAR_SHARE * len(words):
        return f"{lies}{far} of {len(words)} words where nobody speaks"
    return None


def _far(word: HeardWord, spans: Sequence[SpeechSpan]) -> bool:
    return not any(
        word.start_s <= span.end_s + FAR_S and word.end_s >= span.start_s - FAR_S for span in spans
    )
