"""The whole examination: every check guarded, one after the other, the slow ones told about."""

from __future__ import annotations

import datetime
import logging
import platform
import threading
import traceback
from collections.abc import Callable, Iterable
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
from doctor.diagnosis import Diagnosis, Finding, diagnosis
from doctor.machine import Machine
from gpu.nvml import GpuList, read_gpus
from model_store.store import ResolvedModel, available_models, resolve_model
from workers.memory import see_cards

log = logging.getLogger(__name__)

Check = Callable[[], Iterable[Finding]]

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
        return list(check())
    except SubtitleError as error:
        return [Finding("error", area, error.message, error.hint)]
    except Exception as error:
        log.exception("A check of %s failed", area)
        known = recognise(str(error))
        fix = known.fix if known else "Report it with this text."
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"This check could not run: {type(error).__name__}: {error}"
        text += f" ({Path(where.filename).name}:{where.lineno})"
        return [Finding("error", area, text, fix)]


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
        answer = threading.Thread(target=self._ask_hub, name="doctor-hub", daemon=True)
        answer.start()
        found: list[Finding] = []
        for area, check in self._devices():
            found += guarded(area, check)
        found += guarded(libraries.AREA, self._libraries)
        for area, check in self._surroundings():
            found += guarded(area, check)
        self._progress("Asking the model hub")
        answer.join()
        found += guarded(models.AREA, self._models)
        found += guarded(network.AREA, partial(network.port, self._settings))
        for area, check in self._configuration():
            found += guarded(area, check)
        found += guarded(inference.AREA, self._inference)
        return diagnosis(found, _head(self._machine))

    @property
    def _expected(self) -> bool:
        return driver.gpu_expected(self._settings.device, self._machine, self._gpus)

    def _devices(self) -> list[tuple[str, Check]]:
        settings, gpus, machine = self._settings, self._gpus, self._machine
        device = settings.device
        return [
            (driver.AREA, partial(driver.driver, device, machine, gpus)),
            (cards.AREA, partial(cards.cards, gpus)),
            (cards.AREA, partial(cards.types, gpus, settings.compute_type)),
            (cards.AREA, partial(cards.architecture, gpus, machine)),
            (cards.AREA, partial(cards.visible_devices, settings, gpus)),
            (containers.AREA, partial(containers.container, device, machine)),
            (containers.AREA, partial(containers.nodes, device, machine)),
            (containers.AREA, partial(containers.shared_memory, machine)),
        ]

    def _libraries(self) -> list[Finding]:
        self._progress("Opening the native libraries")
        devices, _ = inference.devices(self._settings, self._gpus)
        on_gpu = [device.visible for device in devices if device.kind == "cuda"]
        facts = libraries.probe(",".join(on_gpu))
        area, expected = libraries.AREA, self._expected
        found = guarded(area, partial(libraries.cublas, facts, expected, self._machine))
        found += guarded(area, partial(libraries.engine, facts, self._gpus, expected))
        found += guarded(area, partial(libraries.decoder, facts))
        return found + guarded(area, libraries.versions)

    def _surroundings(self) -> list[tuple[str, Check]]:
        settings = self._settings
        return [
            (resources.CORES, partial(resources.cores, settings)),
            (resources.CORES, partial(resources.memory, settings)),
            (resources.DISK, partial(resources.disks, settings)),
        ]

    def _configuration(self) -> list[tuple[str, Check]]:
        has_gpu = bool(self._gpus.devices)
        return [
            (configuration.AREA, partial(configuration.changed, self._settings)),
            (configuration.AREA, configuration.unknown),
            (configuration.AREA, partial(configuration.without_effect, self._machine)),
            (configuration.AREA, partial(configuration.contradictions, self._settings, has_gpu)),
        ]

    def _ask_hub(self) -> None:
        try:
            self._closed = models.hub(self._settings, self._offline)
        except Exception as error:
            # Told as the reason why it cannot be asked.
            self._closed = f"{type(error).__name__}: {error}"

    def _models(self) -> list[Finding]:
        settings = self._settings
        found = models.installed(settings)
        devices, _ = inference.devices(settings, self._gpus)
        on_gpu = [device for device in devices if device.kind == "cuda"]
        seen = [each.card for each in see_cards(on_gpu, lambda: self._gpus)]
        if on_gpu and not seen:
            text = "The memory of the GPUs is unknown, and so is what auto would choose for them."
            chosen = [Finding("hint", models.AREA, text, "See the NVIDIA driver's findings.")]
        else:
            chosen = models.choice(settings, seen, self._closed)
        endpoint = self._machine.variables.get("HF_ENDPOINT") or DEFAULT_HUB
        needed = any(finding.severity != "ok" for finding in chosen)
        return [*found, *chosen, *models.hub_finding(self._closed, endpoint, needed)]

    def _inference(self) -> list[Finding]:
        devices, found = inference.devices(self._settings, self._gpus)
        model = self._smallest()
        if model is None:
            text = "There is no model, so no device can be tested."
            return [*found, Finding("error", inference.AREA, text, "`make setup`")]
        return found + inference.inference(devices, model, self._settings, self._progress)

    def _smallest(self) -> ResolvedModel | None:
        folder = self._settings.models_dir
        name = models.smallest(available_models(folder))
        if name is None:
            return None
        return resolve_model(name, device="cpu", models_dir=folder, offline=True)


def _head(machine: Machine) -> str:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    where = "container, " if machine.container else ""
    system = f"{where}{platform.system()} {platform.release()} {platform.machine()}"
    return f"whisper-for-subs {version()}, {now}, Python {platform.python_version()}, {system}"
