"""The one place to ask about GPU memory: what something takes, whether it fits, what to do if not.

    from gpu.manager import gpu_manager
    gpu_manager.calculate_memory_usage("large", batch_size=2, precision="int8")
    gpu_manager.check_gpu_memory_sufficient("medium", gpu_ids=[0], batch_size=1)
    gpu_manager.get_gpu_memory_info()["gpus"][0]["free"]

Amounts in answers are GB of 1024 MiB, as drivers count them. Nothing here needs torch or makes a
CUDA context; without a GPU everything but the cards' own numbers still answers.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from core.errors import InvalidOption
from core.models import named_model
from core.process_memory import return_to_system
from core.settings import Settings
from core.types import WINDOW_S
from gpu import pytorch
from gpu.advice import advise, name_all
from gpu.choice import Card, fits, judge, on_card
from gpu.estimate import Estimate, estimate
from gpu.nvml import GpuDevice, GpuList, MigDevice, find_device, read_gpus
from gpu.peaks import Peaks
from gpu.physical import SEGMENT_NOTE, WEIGHT_BYTES, Setup
from gpu.report import MIB_PER_GB, cuda_debug_info, memory_info
from gpu.support import (
    COMPUTE_TYPES,
    MAX_BATCH,
    MAX_BEAM,
    NEAREST,
    cannot_run,
    check_compute_type,
    check_range,
    supports,
    why_not,
)

log = logging.getLogger(__name__)

Backend = Literal["ctranslate2", "pytorch"]

ON_CPU = "Use the CPU: --device cpu, or the command audio."


@dataclass(frozen=True, slots=True)
class Released:
    """What happened to one device's model when its memory was asked for."""

    device: str
    outcome: Literal["unloaded", "busy", "empty"]
    """``empty``: no model was loaded. ``busy``: a job needs the model."""
    model: str | None = None
    freed_mib: float | None = None
    """None: nothing was unloaded, or it is unknown."""

    def __str__(self) -> str:
        if self.outcome == "empty":
            return f"{self.device}: no model was loaded"
        if self.outcome == "busy":
            return f"{self.device}: {self.model} stays loaded because a job needs it"
        freed = "" if self.freed_mib is None else f", {self.freed_mib:,.0f} MiB freed"
        return f"{self.device}: {self.model} unloaded{freed}"


class HoldsMemory(Protocol):
    """Something with models that can be loaded again."""

    def release(self) -> Sequence[Released]:
        """Unload what is idle."""
        ...


class GpuManager:
    """Thread-safe. One for the process: :data:`gpu_manager`.

    Args:
        read: how cards are looked at.
    """

    def __init__(self, read: Callable[[], GpuList] = read_gpus) -> None:
        self._read = read
        self.peaks = Peaks()
        """What workers measured; estimates rest on it."""
        self._holders: weakref.WeakSet[HoldsMemory] = weakref.WeakSet()

    def calculate_memory_usage(
        self,
        model_name: str,
        segment_duration: float = 30,
        batch_size: int = 1,
        precision: str = "float16",
        *,
        beam_size: int = 5,
        backend: Backend = "ctranslate2",
        device_name: str = "",
    ) -> dict[str, Any]:
        """What one task takes, in GB.

        Args:
            segment_duration: seconds. Counts for ``pytorch`` alone: our engine hears a segment in
                windows of 30 s, so its memory does not grow with it.
            precision: a compute type of CTranslate2. ``int4``, which it does not have, is answered
                too, with a note: nothing that says whether something fits takes it.
            backend: ``ctranslate2``, the engine that runs here, or ``pytorch``, the guide's rule.
            device_name: a card by its name, whose measurements are to count.

        Returns:
            ``total_required``, ``recommended`` (with the error bar, or the guide's 20 %),
            ``breakdown`` (GB by part, which add up to the total), ``error`` (share), ``source``,
            ``notes`` (sentences), and the arguments.

        Raises:
            ModelError, InvalidOption: an unknown model, or impossible numbers.
        """
        name = named_model(model_name).name
        _check(segment_duration, batch_size, beam_size)
        answer = {
            "model": name,
            "backend": backend,
            "precision": precision,
            "segment_duration": segment_duration,
            "batch_size": batch_size,
            "beam_size": beam_size,
        }
        notes = [f"{cannot_run(precision)}."] if precision in NEAREST else []
        if backend == "pytorch":
            by_the_guide = _by_the_guide(model_name, segment_duration, batch_size, precision)
            return answer | by_the_guide | {"notes": notes}
        if backend != "ctranslate2":
            raise InvalidOption(
                f"There is no backend {backend!r}.", hint="Choose ctranslate2 or pytorch."
            )
        setup = _setup(name, precision, batch_size, beam_size)
        found = estimate(setup, self.peaks, device_name)
        if segment_duration != WINDOW_S:
            notes.append(SEGMENT_NOTE)
        return answer | {
            "total_required": found.total_mib / MIB_PER_GB,
            "recommended": found.high_mib / MIB_PER_GB,
            "breakdown": {part: mib / MIB_PER_GB for part, mib in found.parts.items()},
            "error": found.error,
            "source": found.source,
            "notes": notes,
        }

    def check_gpu_memory_sufficient(
        self,
        model_name: str,
        gpu_ids: Sequence[int | str] | None = None,
        segment_duration: float = 30,
        batch_size: int = 1,
        precision: str = "float16",
        *,
        beam_size: int = 5,
        backend: Backend = "ctranslate2",
    ) -> dict[str, Any]:
        """Whether a model fits into what is free on every one of the GPUs (None: all): each gets a
        copy of its own.

        Returns:
            ``sufficient``, ``message``, ``optimization_suggestions`` (sentences, least harm
            first), ``required`` and ``recommended`` in GB, ``notes`` as
            :meth:`calculate_memory_usage` has them, ``gpus`` (one answer a card).

        Raises:
            ModelError, InvalidOption: as :meth:`calculate_memory_usage`, or a precision that the
                engine does not have.
        """
        _check_precision(precision, backend)
        need = self.calculate_memory_usage(
            model_name, segment_duration, batch_size, precision, beam_size=beam_size,
            backend=backend,
        )  # fmt: skip
        gpus = self._read()
        entries = [str(d.index) for d in gpus.devices] if gpu_ids is None else map(str, gpu_ids)
        answers = [
            self._check_device(entry, gpus, need, backend) for entry in dict.fromkeys(entries)
        ]
        tips = dict.fromkeys(tip for answer in answers for tip in answer.pop("suggestions"))
        if not answers:
            tips = {ON_CPU: None}
            message = f"No GPU to check: {_why_none(gpus)}."
        else:
            message = " ".join(answer["message"] for answer in answers)
        return {
            "sufficient": bool(answers) and all(answer["sufficient"] for answer in answers),
            "message": message,
            "optimization_suggestions": list(tips),
            "required": need["total_required"],
            "recommended": need["recommended"],
            "notes": need["notes"],
            "gpus": answers,
        }

    def get_gpu_memory_info(self) -> dict[str, Any]:
        """Every card with ``total``, ``used``, ``free`` in GB, its ``name`` and ``processes``."""
        return memory_info(self._read())

    def get_cuda_debug_info(self) -> dict[str, Any]:
        """Driver, cards, what they can run, libraries: for a report, JSON-serialisable."""
        try:
            visible = Settings().cuda_visible_devices
        except ValueError as error:
            # A report is asked for when something is wrong, and other settings may be it.
            visible = f"unknown, because the settings are wrong: {error}"
        return cuda_debug_info(self._read(), visible)

    def release_all_memory(self) -> dict[str, Any]:
        """Unload every idle model of this process and of its workers; work that runs is not
        touched, and no other process is. A model is loaded again when it is next used.

        Returns:
            ``devices`` (for each its ``device``, ``outcome``, ``model`` and ``freed_mib``, see
            :class:`Released`), ``released_workers`` (how many models were unloaded), and the cards
            as they are a moment later, in ``gpus``.
        """
        devices = [found for holder in tuple(self._holders) for found in holder.release()]
        return_to_system()
        released = sum(found.outcome == "unloaded" for found in devices)
        log.info("Released the models of %d idle workers", released)
        return {
            "released_workers": released,
            "devices": [asdict(found) for found in devices],
            **self.get_gpu_memory_info(),
        }

    def holds_memory(self, holder: HoldsMemory) -> None:
        """Have the holder's ``release`` called by :meth:`release_all_memory`, while it exists."""
        self._holders.add(holder)

    def can_run_concurrent_task(
        self,
        model_name: str,
        current_tasks: Iterable[Mapping[str, Any]],
        gpu_id: int | str = 0,
        **options: Any,
    ) -> bool:
        """The guide's rule: a task may start when the recommended memory of those that run and its
        own, together, fits into what is free.

        ``current_tasks``: each with ``model``, and whatever else
        :meth:`calculate_memory_usage` takes. False without a GPU.
        """
        device = find_device(str(gpu_id), self._read())
        if device is None:
            return False
        needed = self._recommended(model_name, options)
        for task in current_tasks:
            how = {**options, **{key: task[key] for key in task if key != "model"}}
            needed += self._recommended(task["model"], how)
        return bool(needed <= device.free_mib / MIB_PER_GB)

    def assign_optimal_model(self, available_memory: float, **options: Any) -> str:
        """The guide's choice: the largest of large, medium, small, base, tiny whose recommended
        memory fits into so many GB; ``tiny`` if none does."""
        for model in pytorch.SMALLER:
            if self._recommended(model, options) <= available_memory:
                return model
        return pytorch.SMALLER[-1]

    def _recommended(self, model: str, options: Mapping[str, Any]) -> float:
        """GB, for a task that is to run."""
        _check_precision(options.get("precision", "auto"), options.get("backend", "ctranslate2"))
        return float(self.calculate_memory_usage(model, **options)["recommended"])

    def _check_device(
        self, entry: str, gpus: GpuList, need: dict[str, Any], backend: Backend
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "id": entry, "name": "", "sufficient": False, "message": "", "free": None,
            "total": None, "suggestions": [],
        }  # fmt: skip
        device = find_device(entry, gpus)
        if device is None:
            there = f"there are {len(gpus.devices)} GPUs" if gpus.devices else _why_none(gpus)
            text = f"GPU {entry} does not exist: {there}."
            return answer | {"message": text, "suggestions": [] if gpus.devices else [ON_CPU]}
        card = card_of(device, f"GPU {entry}")
        free = card.free_mib / MIB_PER_GB
        answer |= {"name": card.name, "free": free, "total": card.total_mib / MIB_PER_GB}
        precision = need["precision"]
        if card.capability is not None and not supports(card.capability, precision):
            return answer | {"message": f"{card.label}: {why_not(card.capability, precision)}"}
        setup = on_card(
            _setup(need["model"], precision, need["batch_size"], need["beam_size"]), card
        )
        found = judge(card, self.peaks)(setup)
        if backend == "pytorch":
            total_mib = need["total_required"] * MIB_PER_GB
            found = Estimate(parts={}, total_mib=total_mib, error=0.2, source=need["source"])
        enough = fits(card, found)
        text = (
            f"{card.label} ({card.name}): {'enough' if enough else 'not enough'} memory,"
            f" {card.free_mib:,.0f} of {card.total_mib:,.0f} MiB are free and {need['model']} needs"
            f" {found.total_mib:,.0f} MiB, {found.high_mib:,.0f} to be sure"
        )
        if not enough and device.processes:
            text += f"; held by {name_all(device.processes)}"
        if not enough and backend == "pytorch":
            asked = (need["model"], need["segment_duration"], need["batch_size"], precision)
            answer["suggestions"] = list(pytorch.suggest(*asked, free_gb=free))
        elif not enough:
            tips = advise(setup, card, peaks=self.peaks)
            answer["suggestions"] = [each.text for each in tips]
        return answer | {"sufficient": enough, "message": f"{text}."}


def card_of(device: GpuDevice | MigDevice, label: str) -> Card:
    """What NVML shows, as far as memory goes."""
    return Card(
        label=label,
        name=device.name,
        free_mib=device.free_mib,
        total_mib=device.total_mib,
        capability=device.capability,
        holders=device.processes,
    )


def _why_none(gpus: GpuList) -> str:
    return gpus.problem.rstrip(".") or "there is none"


def _setup(name: str, precision: str, batch_size: int, beam_size: int) -> Setup:
    if precision not in WEIGHT_BYTES:
        raise InvalidOption(
            f"There is no precision {precision!r}.",
            hint=f"Choose from: {', '.join(COMPUTE_TYPES)}.",
        )
    return Setup(model=name, compute_type=precision, batch_size=batch_size, beam_size=beam_size)


def _by_the_guide(
    model_name: str, segment_duration: float, batch_size: int, precision: str
) -> dict[str, Any]:
    parts = pytorch.calculate(model_name, segment_duration, batch_size, precision)
    total = sum(parts.values())
    return {
        "total_required": float(total),
        "recommended": float(total * pytorch.MARGIN),
        "breakdown": {part: float(size) for part, size in parts.items()},
        "error": float(pytorch.MARGIN - 1),
        "source": "the guide's rule for openai-whisper",
    }


def _check_precision(precision: str, backend: str) -> None:
    """Raises InvalidOption for what would never run here."""
    if backend == "ctranslate2":
        check_compute_type(precision)


def _check(segment_duration: float, batch_size: int, beam_size: int) -> None:
    if not 0 < segment_duration <= 86_400:
        raise InvalidOption(f"A segment of {segment_duration:g} s is not between 0 s and a day.")
    check_range("batch size", batch_size, 1, MAX_BATCH)
    check_range("beam size", beam_size, 1, MAX_BEAM)


gpu_manager = GpuManager()
