# ruff: noqa: RUF001 (full-width punctuation is the subject here)
"""How good a break is at a place: what a subtitler reads off the words on both sides.

One number per place between two units, in the prices of ``subtitles.rules.BreakCosts``. The
words that matter are known for the languages listed below; in others, punctuation and pauses
decide alone.
"""

from __future__ import annotations

import re
import unicodedata

from subtitles.rules import BreakCosts
from subtitles.script import bare, is_unspaced
from subtitles.units import Unit

SENTENCE_ENDS = frozenset(".?!。．？！｡؟۔।॥…‽։።")
CLAUSE_ENDS = frozenset(",;:，、；：､،؛—–")

_CONJUNCTIONS = {
    "en": "and but or nor so because although though unless until while whereas if when where"
    " which who whom whose that than then after before since as",
    "de": "und oder aber denn sondern weil dass ob obwohl wenn als während bevor nachdem damit"
    " sodass indem wie welche welcher welches",
    "fr": "et ou mais donc car que qui dont où lorsque quand si parce puisque comme tandis",
    "es": "y e o u pero sino porque que quien donde cuando si aunque mientras como pues",
    "it": "e ed o ma però perché che chi cui dove quando se mentre come quindi",
    "pt": "e ou mas porque que quem onde quando se embora enquanto como pois",
    "nl": "en of maar want omdat dat die als toen terwijl hoewel zodat wie waar",
}
_PREPOSITIONS = {
    "en": "in on at by for from with without to into onto over under between through during"
    " about against among around of off toward towards upon within",
    "de": "in im an am auf aus bei beim mit nach seit von vom zu zum zur durch für gegen ohne um"
    " über unter vor hinter neben zwischen",
    "fr": "à au aux de du des en dans sur sous avec sans pour par chez vers entre",
    "es": "a al de del en con sin por para sobre entre desde hasta hacia",
    "it": "a al alla di del della in nel nella con su sul per tra fra da dal dalla",
    "pt": "a ao à de do da dos das em no na nos nas com sem por para sobre entre",
    "nl": "in op aan met van voor naar bij uit over onder tussen door om te",
}
_DETERMINERS = {
    "en": "a an the this that these those my your his her its our their no every each some any"
    " very more most too quite not mr mrs ms dr st",
    "de": "der die das den dem des ein eine einen einem einer eines kein keine mein meine dein"
    " sein seine ihr ihre unser dieser diese dieses diesen diesem sehr nicht",
    "fr": "le la les un une des ce cet cette ces mon ma mes ton ta tes son sa ses notre nos"
    " votre vos leur leurs très ne",
    "es": "el la los las un una unos unas mi mis tu tus su sus este esta estos estas muy no",
    "it": "il lo la i gli le un uno una mio mia tuo tua suo sua questo questa molto non",
    "pt": "o a os as um uma uns umas meu minha seu sua este esta muito não",
    "nl": "de het een mijn jouw zijn haar ons onze hun deze dit zeer niet",
}
"""Articles and other words that cannot stand before a break: the noun follows."""

_SUBJECTS = {
    "en": "i you he she it we they i'm you're we're they're it's i've we've i'll don't is are was"
    " were be been am will would shall should can could may might must has have had do does did",
    "de": "ich du er sie es wir ist sind war waren hat haben wird werden kann muss",
    "fr": "je tu il elle on nous vous ils elles est sont était a ont",
    "es": "yo él ella es son era está están ha han se lo le me te",
    "it": "io tu lui lei è sono era ha hanno si mi ti",
    "pt": "eu ele ela é são era está foi tem se",
    "nl": "ik je hij zij ze we wij is zijn was heeft hebben wordt",
}
"""Pronouns and auxiliaries: the verb follows, unless a preposition does."""

_ABBREVIATION_LIST = (
    "mr mrs ms dr st prof sr jr vs etc e.g i.e no vol fig approx dept gen col lt sgt rev hon"
    " z.b d.h bzw ca nr usw hr fr m mm mme mlle sig sra srta dott"
    " jan feb mar apr jun jul aug sep sept oct nov dec"
)
_ABBREVIATIONS = frozenset(_ABBREVIATION_LIST.split())

_AFTER_PARTICLE = frozenset("的了着過过吧呢吗嗎啊們们をはがにでともへのやて")
_BEFORE_PARTICLE = frozenset("的了着過过吧呢吗嗎啊们們地得")
_BEFORE_CONJUNCTION = frozenset("但而并並或和与與及因所如虽雖則则")
_NUMBER = re.compile(r"\d[\d.,]*$")


class BreakJudge:
    """Prices breaks for one language. ``language``: Whisper code, None when not known."""

    def __init__(self, language: str | None, costs: BreakCosts) -> None:
        code = language or ""
        self._costs = costs
        # A capital after a segment without punctuation is a new sentence, except for German nouns.
        self._capitals = code != "de"
        self._conjunctions, self._prepositions, self._determiners, self._subjects = (
            frozenset(words.get(code, "").split())
            for words in (_CONJUNCTIONS, _PREPOSITIONS, _DETERMINERS, _SUBJECTS)
        )

    def ends_sentence(self, unit: Unit, following: Unit) -> bool:
        """True when ``unit`` closes a sentence, which "Mr.", "3." and "U.S. troops" do not."""
        word = bare(unit.text)
        if not word or word[-1] not in SENTENCE_ENDS:
            return False
        if word[-1] not in ".…":
            return True
        first = next((c for c in following.text if c.isalpha()), "")
        if word.endswith(("...", "…")) or first.islower():
            return not first.islower()
        stem = word[:-1].rpartition(" ")[2].casefold()
        return not (stem in _ABBREVIATIONS or (len(stem) == 1 and stem.isalpha()))

    def price(self, before: str, unit: Unit, following: Unit) -> float:
        """Cost of ending a line after ``unit``, pauses not counted. ``before``: the text before
        it, because "for you" may end a line where "you" alone may not."""
        costs = self._costs
        if self.ends_sentence(unit, following):
            return costs.sentence
        word = bare(unit.text)
        if word and (word[-1] in CLAUSE_ENDS or word.endswith(("...", "…"))):
            return costs.clause
        last, first = unit.text[-1], following.text[0]
        if is_unspaced(last) or is_unspaced(first):
            if following.spaced:
                return costs.clause
            if following.opens_segment:
                return costs.segment
            return self._unspaced_price(last, first)
        price = self._spaced_price(bare(before).casefold(), word, bare(following.text))
        capital = self._capitals and first.isupper() and word[:1].islower()
        return (
            costs.clause if following.opens_segment and capital and price < costs.bound else price
        )

    def _spaced_price(self, before: str, word: str, following: str) -> float:
        costs = self._costs
        left = word.rpartition(" ")[2].casefold().rstrip(".")
        right = following.partition(" ")[0].rstrip(",.;:?!").casefold()
        if left in self._determiners or left in self._prepositions or left in self._conjunctions:
            return costs.bound
        if left.endswith(("'s", "’s")):
            return costs.bound
        if right in self._conjunctions:
            return costs.conjunction
        opens_phrase = right in self._prepositions
        if left in self._subjects and not opens_phrase:
            return costs.phrase if before in self._prepositions else costs.bound
        if _NUMBER.search(left) or (word[:1].isupper() and following[:1].isupper()):
            return costs.name
        if opens_phrase or right in self._determiners:
            return costs.phrase
        return costs.plain

    def _unspaced_price(self, left: str, right: str) -> float:
        costs = self._costs
        left_kind, right_kind = _kind(left), _kind(right)
        if right in _BEFORE_PARTICLE or left_kind == right_kind == "KATAKANA":
            return costs.bound_ideograph
        if right_kind == "HIRAGANA":
            after = left_kind == "HIRAGANA" and left in _AFTER_PARTICLE
            return costs.inside_ideograph if after else costs.bound_ideograph
        if right in _BEFORE_CONJUNCTION or left in _AFTER_PARTICLE or left_kind == "HIRAGANA":
            return costs.boundary_ideograph
        return costs.inside_ideograph


def _kind(char: str) -> str:
    """First word of the Unicode name, which for these scripts is the script."""
    name = unicodedata.name(char, "").partition(" ")[0]
    return name.partition("-")[0]
