# ruff: noqa: RUF001 (full-width punctuation is the subject here)
"""What the layout must know about writing systems: width on screen, and where a line may end.

No dictionary is loaded: Chinese, Japanese, Thai, Lao, Khmer and Burmese are written without spaces
and may end a line between any two characters that typography allows (kinsoku); better and
worse places are told apart by character class in ``subtitles.breaks``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u2e80-\u303f\u3040-\u30ff\u3100-\u312f\u31a0-\u31ff"  # CJK radicals, marks, kana, bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # ideographs
    "\uff01-\uff60\uff65-\uff9f"  # full-width forms, half-width katakana
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_UNSPACED_CHAR = re.compile(f"[{_UNSPACED}]")
_PIECES = re.compile(f"[{_UNSPACED}]|[^{_UNSPACED}]+")

NO_LINE_START = frozenset(
    "。．，、！？：；・…‥ー～〜゛゜ヽヾゝゞ々〻‐–—"
    "」』）】〕〉》〙〗〟’”｠»›"
    "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶㇰㇱㇲㇳㇴㇵㇶㇷㇸㇹㇺㇻㇼㇽㇾㇿ"
    "｡､｣･ｰﾞﾟｧｨｩｪｫｬｭｮｯ"
    ".,!?:;%)]}°′″％℃"
    "ะาำๅๆฯະາຳໆຯ"  # Thai and Lao signs that follow their consonant
)
"""Characters that may not begin a line: closing marks, small kana, length marks, percent."""

NO_LINE_END = frozenset("「『（【〔〈《〘〖〝‘“｟｢«‹¿¡([{￥＄£$#＃เแโใไເແໂໃໄ")
"""Characters that may not end a line: opening marks, currency signs, Thai and Lao lead vowels."""

_QUOTES_AROUND = "\"'“”‘’«»‹›()[]{}（）「」『』【】〔〕《》〈〉"


@lru_cache(maxsize=16384)
def _char_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf", "Cc"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def text_width(text: str) -> int:
    """Columns that ``text`` takes on screen: full-width characters two, combining marks none."""
    return len(text) if text.isascii() else sum(map(_char_width, text))


def is_unspaced(char: str) -> bool:
    """True for a character of a script written without spaces between words."""
    return _UNSPACED_CHAR.match(char) is not None


def has_unspaced(text: str) -> bool:
    return not text.isascii() and _UNSPACED_CHAR.search(text) is not None


def join_texts(texts: Iterable[str]) -> str:
    """Texts as one line: a space between them where the script uses spaces."""
    joined: list[str] = []
    for text in filter(None, map(str.strip, texts)):
        if joined and not (is_unspaced(joined[-1][-1]) or is_unspaced(text[0])):
            joined.append(" ")
        joined.append(text)
    return "".join(joined)


def bare(word: str) -> str:
    """The word without the quotes and brackets around it."""
    return word.strip(_QUOTES_AROUND)


def may_break(left: str, right: str, *, spaced: bool) -> bool:
    """May a line end between these two neighbours? Words of spaced scripts only at a space."""
    if right[0] in NO_LINE_START and (not spaced or not any(c.isalnum() for c in right)):
        return False
    if left[-1] in NO_LINE_END and (not spaced or not any(c.isalnum() for c in left)):
        return False
    if _continues(right[0]) or left[-1] == "\u200d":
        return False
    return spaced or is_unspaced(left[-1]) or is_unspaced(right[0])


def _continues(char: str) -> bool:
    """True for marks that belong to the character before them."""
    return not char.isascii() and unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf", "Sk")


def _clusters(pieces: list[str]) -> list[str]:
    """``pieces`` with the marks that begin one moved to the piece before it."""
    joined: list[str] = []
    for piece in pieces:
        if joined and (_continues(piece[0]) or joined[-1][-1] == "\u200d"):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def unspaced_pieces(text: str) -> list[str]:
    """``text`` cut into single characters of unspaced script and runs of everything else."""
    return _clusters(_PIECES.findall(text))


def cut_at_width(text: str, width: int) -> list[str]:
    """``text`` in pieces of at most ``width`` columns, never between a character and its marks."""
    pieces: list[str] = []
    used = 0
    for cluster in _clusters(list(text)):
        size = text_width(cluster)
        if pieces and used + size <= width:
            pieces[-1] += cluster
            used += size
        else:
            pieces.append(cluster)
            used = size
    return pieces
