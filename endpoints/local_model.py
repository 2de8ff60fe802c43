"""The job's model on this machine's CPU, for what a server cannot do: say when the words of a text
were said, whether they were said at all, and in which language.

Loaded when it is first needed. CTranslate2 is imported only then: most endpoints never need it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from core.pcm import Float32
from core.process_memory import return_to_system
from core.types import SAMPLE_RATE, ModelSpec, Task
from decoding.parts import AlignedWord, Part
from endpoints.heard import HeardPart, spaced

if TYPE_CHECKING:
    from decoding.model import SpeechModel

log = logging.getLogger(__name__)

MOST_TOKENS = 440
"""Of a clip's text: what fits into the decoder beside the prompt."""


class LocalModel:
    """Loads and frees the model as needed. Raises what loading raises: ModelError, OutOfMemory."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = replace(spec, device="cpu", compute_type="int8")
        self._model: SpeechModel | None = None

    @property
    def loaded(self) -> bool:
        return self._model is not None

    def release(self) -> None:
        """Free its memory until it is needed again."""
        if self._model is not None:
            self._model = None
            return_to_system()

    def align(
        self, audio: Float32, parts: Sequence[HeardPart], language: str, task: Task
    ) -> tuple[list[Part], list[AlignedWord]]:
        """When the words of the parts are said, with the probability of each; nothing where the
        text is too long to be a clip's."""
        model = self._loaded()
        tokenizer = model.tokenizer(language, task)
        tokenised = [
            Part(each.start_s, each.end_s, tuple(tokenizer.encode(spaced(each.text.strip(), 1))))
            for each in parts
        ]
        if not 0 < sum(len(part.tokens) for part in tokenised) <= MOST_TOKENS:
            return tokenised, []
        rows = model.encode([audio])
        [words] = model.align(rows, [tokenised], tokenizer, [len(audio) / SAMPLE_RATE])
        return tokenised, words

    def detect_language(self, clips: Sequence[Float32]) -> tuple[str, float]:
        """The language that is likeliest over all clips, and its mean probability."""
        model = self._loaded()
        if not model.is_multilingual:
            return "en", 1.0
        total: dict[str, float] = {}
        for votes in model.detect_language(model.encode(clips)):
            for language, probability in votes.items():
                total[language] = total.get(language, 0.0) + probability
        language = max(total, key=lambda code: total[code])
        return language, total[language] / len(clips)

    def _loaded(self) -> SpeechModel:
        if self._model is None:
            from decoding.failures import explain_load_failure
            from decoding.model import SpeechModel

            log.info("Loading %s to align and check an endpoint's text", self._spec.name)
            try:
                self._model = SpeechModel(self._spec)
            except Exception as error:
                raise explain_load_failure(error) from error
        return self._model
