"""The whole examination: every check guarded, in order, with progress for the slow ones."""

from __future__ import annotations

import datetime
import logging
import platform
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from core.errors import SubtitleError
from core.known_errors import recognise
from core.settings import Settings
from core.version import version
from doctor import (
    cards,
    configuration,
    containers,
    driver,
    inference,
    libraries,
    models,
    network,
    resources,
)
from doctor.diagnosis import Diagnosis, Finding, diagnosis, error, hint
from doctor.machine import Machine
from gpu.nvml import GpuList, read_gpus
from model_store.store import available_models
from workers.memory import see_cards
from workers.resources import available_mib, total_mib, usable_cores

log = logging.getLogger(__name__)

Check = Callable[[], Finding | Iterable[Finding]]

DEFAULT_HUB = "https://huggingface.co"


def examine(
    settings: Settings,
    *,
    offline: bool = False,
    gpus: Callable[[], GpuList] = read_gpus,
    machine: Machine | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Diagnosis:
    """Look at everything; it never raises. Takes some seconds, longer where a device hangs.

    Args:
        offline: do not ask the model hub.
        progress: gets a line for people before whatever takes a while.
    """
    return _Examination(settings, offline, gpus, machine or Machine(), progress).run()


def guarded(area: str, check: Check) -> list[Finding]:
    """What the check found; one that fails itself is a finding, and the others go on."""
    try:
        found = check()
        listed = [found] if isinstance(found, Finding) else list(found)
    except SubtitleError as problem:
        listed = [error(problem.message, problem.hint)]
    except Exception as failure:
        log.exception("A check of %s failed", area)
        known = recognise(str(failure))
        where = traceback.extract_tb(failure.__traceback__)[-1]
        text = f"This check could not run: {type(failure).__name__}: {failure}"
        text += f" ({Path(where.filename).name}:{where.lineno})"
        listed = [error(text, known.fix if known else "Report it with this text.")]
    return [replace(finding, area=area) for finding in listed]


class _Examination:
    def __init__(
        self,
        settings: Settings,
        offline: bool,
        gpus: Callable[[], GpuList],
        machine: Machine,
        progress: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._offline = offline
        self._machine = machine
        self._progress = progress
        self._gpus = gpus()
        self._closed = ""
        """Why the model hub cannot be asked."""

    def run(self) -> Diagnosis:
        # The hub may be slow to answer, so it is asked while the other checks run.
        self._asking = threading.Thread(target=self._ask_hub, name="doctor-hub", daemon=True)
        self._asking.start()
        found = [finding for area, check in self._checks() for finding in guarded(area, check)]
        return diagnosis(found, _head(self._machine))

    def _checks(self) -> list[tuple[str, Check]]:
        settings, gpus, machine = self._settings, self._gpus, self._machine
        device, has_gpu = settings.device, bool(gpus.devices)
        return [
            (driver.AREA, partial(driver.driver, device, machine, gpus)),
            (cards.AREA, partial(cards.cards, gpus)),
            (cards.AREA, partial(cards.types, gpus, settings.compute_type)),
            (cards.AREA, partial(cards.architecture, gpus, machine)),
            (cards.AREA, partial(cards.visible_devices, settings, gpus)),
            (containers.AREA, partial(containers.container, device, machine)),
            (containers.AREA, partial(containers.nodes, device, machine)),
            (containers.AREA, partial(containers.shared_memory, machine)),
            (libraries.AREA, self._libraries),
            (resources.CORES, lambda: resources.cores(settings, usable_cores())),
            (resources.CORES, lambda: resources.memory(settings, available_mib(), total_mib())),
            (resources.DISK, partial(resources.disks, settings)),
            (models.AREA, self._models),
            (network.AREA, partial(network.port, settings)),
            (configuration.AREA, partial(configuration.changed, settings)),
            (configuration.AREA, configuration.unknown),
            (configuration.AREA, partial(configuration.without_effect, machine)),
            (configuration.AREA, partial(configuration.contradictions, settings, has_gpu)),
            (inference.AREA, self._inference),
        ]

    def _libraries(self) -> Iterator[Finding]:
        self._progress("Opening the native libraries")
        devices, _ = inference.devices(self._settings, self._gpus)
        on_gpu = [device.visible for device in devices if device.kind == "cuda"]
        facts = libraries.probe(",".join(on_gpu))
        expected = driver.gpu_expected(self._settings.device, self._machine, self._gpus)
        for check in (
            partial(libraries.cublas, facts, expected, self._machine),
            partial(libraries.engine, facts, self._gpus, expected),
            partial(libraries.decoder, facts),
            libraries.versions,
        ):
            yield from guarded(libraries.AREA, check)

    def _ask_hub(self) -> None:
        try:
            self._closed = models.hub(self._settings, self._offline)
        except Exception as failure:
            # The report gives it as the reason why the hub cannot be asked.
            self._closed = f"{type(failure).__name__}: {failure}"

    def _models(self) -> Iterator[Finding]:
        self._progress("Asking the model hub")
        self._asking.join()
        yield models.installed(self._settings)
        devices, _ = inference.devices(self._settings, self._gpus)
        on_gpu = [device for device in devices if device.kind == "cuda"]
        seen = see_cards(on_gpu, lambda: self._gpus)
        if on_gpu and not seen:
            text = "The memory of the GPUs is unknown, and so is what auto would choose for them."
            chosen = [hint(text, "See the NVIDIA driver's findings.")]
        else:
            chosen = list(models.choice(self._settings, seen, self._closed))
        yield from chosen
        endpoint = self._machine.variables.get("HF_ENDPOINT") or DEFAULT_HUB
        needed = any(finding.severity != "ok" for finding in chosen)
        yield models.hub_finding(self._closed, endpoint, needed)

    def _inference(self) -> Iterator[Finding]:
        devices, found = inference.devices(self._settings, self._gpus)
        yield from found
        name = models.smallest(available_models(self._settings.models_dir))
        if name is None:
            yield error("There is no model, so no device can be tested.", "`make setup`")
            return
        model = models.installed_model(self._settings, name, "cpu")
        yield from inference.inference(devices, model, self._settings, self._progress)


def _head(machine: Machine) -> str:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    where = "container, " if machine.container else ""
    system = f"{where}{platform.system()} {platform.release()} {platform.machine()}"
    return f"whisper-for-subs {version()}, {now}, Python {platform.python_version()}, {system}"
