"""The memory of this machine's devices, for front ends that say which model fits."""

from __future__ import annotations

from core.errors import DeviceUnavailable
from core.settings import Settings
from gpu.choice import Card
from gpu.manager import gpu_manager
from gpu.plan import fitting_models
from workers.devices import find_devices
from workers.memory import see_cards, see_cpu


def gpus_here(settings: Settings) -> tuple[Card, ...]:
    """The GPUs that workers would use, with the processes that hold memory there; empty where there
    is none or its memory is unknown.

    Raises:
        DeviceUnavailable: a GPU was asked for and is not there.
    """
    devices = find_devices(
        device=settings.device, cuda_visible_devices=settings.cuda_visible_devices, workers=1
    )
    return see_cards(devices)


def devices_here(settings: Settings) -> tuple[Card, ...]:
    """As :func:`gpus_here`, or the machine's main memory where there is no GPU to use."""
    try:
        found = gpus_here(settings)
    except DeviceUnavailable:
        # Submitting a job raises it; here it matters only what would fit.
        found = ()
    cpu = see_cpu()
    return found or (() if cpu is None else (cpu,))


def model_marks(settings: Settings) -> dict[str, str]:
    """A remark for each model that does not fit this machine."""
    cards = devices_here(settings)
    return fitting_models(cards, gpu_manager.peaks, settings.compute_type) if cards else {}
