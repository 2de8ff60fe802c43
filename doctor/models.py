"""Models: which are here, what ``auto`` takes, and whether others could be fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from core.errors import ModelError
from core.models import AUTO, MODELS, find_model
from core.settings import Settings
from doctor.diagnosis import Finding, error, hint, ok, warning
from gpu.choice import Card, Choice, candidates, choose
from model_store import hub as model_hub
from model_store.store import ResolvedModel, available_models, resolve_model

AREA = "Models"

NOT_ASKED = "--offline was given"
NEVER_ASKED = "WHISPER_OFFLINE is set"

Reachable = Callable[[float], str | None]


def installed(settings: Settings) -> Finding:
    here = available_models(settings.models_dir)
    if not here:
        return error(
            "There is no model: none is installed, in the models directory or in the hub's cache.",
            "`make setup` installs base and tiny.en.",
        )
    return ok(f"Models here: {', '.join(f'{name} ({where})' for name, where in here.items())}.")


def installed_model(settings: Settings, name: str, device: str) -> ResolvedModel:
    """A model without asking the hub. Raises ModelError where it is not here."""
    return resolve_model(settings.model_copy(update={"offline": True}), name, device)


def hub(settings: Settings, offline: bool, reachable: Reachable = model_hub.reachable) -> str:
    """Why the model hub cannot be asked; empty where it answers."""
    if settings.offline:
        return NEVER_ASKED
    if offline:
        return NOT_ASKED
    return reachable(settings.hub_timeout_s) or ""


def hub_finding(closed: str, endpoint: str, needed: bool) -> Finding:
    """``needed``: the settings' model is not here."""
    if not closed:
        return ok(f"The model hub answers ({endpoint}).")
    if closed in (NOT_ASKED, NEVER_ASKED):
        return ok(f"The model hub is not used: {closed}.")
    return Finding(
        "warning" if needed else "hint",
        f"The model hub ({endpoint}) cannot be reached: {closed}. Installed models work.",
        "Set HTTPS_PROXY or HF_ENDPOINT if the hub can be reached through them. If not,"
        " `WHISPER_OFFLINE=1` avoids the wait; copy models into folders named after them in the"
        f" models directory, such as models/{candidates()[0]}.",
    )


def choice(settings: Settings, cards: Sequence[Card], closed: str) -> Iterator[Finding]:
    """The model that a job gets if it names none. Nothing is downloaded.

    ``cards``: the GPUs jobs run on; none: the CPU.
    """
    name = settings.model.strip() or AUTO
    automatic = name.lower() == AUTO
    if automatic and cards:
        yield from _on_gpus(settings, cards, closed)
        return
    try:
        found = installed_model(settings, name, "cuda" if cards else "cpu")
    except ModelError as problem:
        info = find_model(name)
        fetchable = (info is not None and info.repo_id) or name in settings.allowed_hub_models
        if automatic:
            yield error(f"auto finds no model: {problem.message}", problem.hint)
        elif not fetchable:
            yield error(f"WHISPER_MODEL: {problem.message}", problem.hint)
        elif closed and closed != NOT_ASKED:
            text = f"WHISPER_MODEL is {name}, which is not here, and the hub cannot be reached."
            yield error(text, f"{problem.hint} Or `WHISPER_MODEL=auto`.")
        else:
            size = f", {info.download_mib:,} MiB" if info and info.download_mib else ""
            yield hint(f"WHISPER_MODEL is {name}, which is downloaded at first use{size}.")
        return
    what = f"auto uses {found.name}" if automatic else f"WHISPER_MODEL is {name}"
    yield ok(f"{what} ({found.reason}).")


def _on_gpus(settings: Settings, cards: Sequence[Card], closed: str) -> Iterator[Finding]:
    """What ``auto`` takes there, by what fits; the model is one for all cards."""
    here = available_models(settings.models_dir)
    able = candidates()
    fitting = [name for name in able if any(_fits(settings, card, name) for card in cards)]
    best = fitting[0] if fitting else able[-1]
    name = best if best in here else next((name for name in fitting if name in here), "")
    if best != name:
        if not closed or closed == NOT_ASKED:
            size = MODELS[best].download_mib or 0
            yield hint(f"auto downloads {best} at first use ({size:,} MiB).")
            name = best
        else:
            yield hint(
                f"auto would use {best}, which is not here and cannot be downloaded: {closed}.",
                f"Put its CTranslate2 files into {settings.models_dir / best}.",
            )
    for card in cards:
        chosen = _fits(settings, card, name) if name else None
        if chosen is None:
            what = f"{name} does not fit" if name else "none of the models here fits"
            yield warning(
                f"{card.label}: {what}; {card.free_mib:,.0f} MiB are free.",
                "Free memory there (see GPUs), or choose a smaller one: `WHISPER_MODEL=base`.",
            )
            continue
        setup = chosen.setup
        yield ok(
            f"{card.label}: auto uses {setup.model} in {setup.compute_type},"
            f" {setup.batch_size} windows together; it needs {chosen.needs}."
        )


def _fits(settings: Settings, card: Card, name: str) -> Choice | None:
    return choose(
        card,
        [name],
        compute_type=settings.compute_type,
        batch_size=settings.batch_size,
        beam_size=settings.beam_size,
    )


def smallest(here: Mapping[str, str]) -> str | None:
    """The model that shows fastest whether a device works."""
    return min(here, key=lambda name: MODELS[name].parameters_m or 0, default=None)
