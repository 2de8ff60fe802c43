"""What models are called in OpenAI's protocol, and which of ours each name stands for."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from api.errors import Refused
from core.errors import InvalidOption, ModelError
from core.models import AUTO, MODELS, SIZES, named_model
from core.settings import Settings
from model_store.store import available_models, check_offered

ALIASES = {
    **dict.fromkeys(("whisper-1", "whisper", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"), AUTO),
    **{f"whisper-{size}": size for size in SIZES},
    "whisper-large": "large-v3",
}
"""Names that clients have built in or suggest."""


class ModelNames:
    """Every name that a request may give. Raises InvalidOption for an alias of no model."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._aliases = {**ALIASES, **settings.model_aliases}
        for alias, name in settings.model_aliases.items():
            try:
                check_offered(name, settings)
            except ModelError as error:
                raise InvalidOption(
                    f"WHISPER_MODEL_ALIASES: {alias!r} stands for no model: {error.message}",
                    hint=error.hint,
                ) from error

    def model(self, name: str) -> str:
        """Our name of a model. Raises Refused."""
        for known in (name, self._aliases.get(name, name)):
            with suppress(ModelError):
                check_offered(known, self._settings)
                return known
        with suppress(ModelError):
            return named_model(name).name  # such as openai/whisper-large-v3
        raise Refused(
            404,
            "ModelNotFound",
            f"The model {name!r} does not exist.",
            f"Models: {', '.join(self.all())}.",
            param="model",
        )

    def all(self) -> list[str]:
        """The names to choose from. It looks for files."""
        settings = self._settings
        ours = available_models(settings.models_dir) if settings.offline else MODELS
        # A path of this machine is asked for as auto.
        own = () if "/" in settings.model else (settings.model,)
        return list(
            dict.fromkeys((*self._aliases, AUTO, *own, *settings.allowed_hub_models, *ours))
        )


def model_json(name: str) -> dict[str, Any]:
    """A model as OpenAI describes one; when it was made is not known."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "whisper-for-subs"}
