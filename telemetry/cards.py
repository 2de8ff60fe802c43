"""Metrics of the machine's GPUs, for whoever must not wait for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gpu.nvml import GpuDevice, GpuList, MigDevice, read_gpus

PATIENCE_S = 1.0
"""NVML answers in milliseconds, in tenths of a second where the driver sleeps. One that hangs with
its card never answers."""


class CardReader:
    """Thread-safe. Reads in a thread of its own, one at a time: a driver that hangs holds up that
    thread and nothing else."""

    def __init__(self, read: Callable[[], GpuList] = read_gpus) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._latest = GpuList()
        self._read_at_s: float | None = None
        self._done: threading.Event | None = None

    def latest(self, patience_s: float = PATIENCE_S) -> tuple[GpuList, float | None]:
        """What was read last, and its age in seconds; None: nothing was read yet."""
        with self._lock:
            if self._done is None or self._done.is_set():
                self._done = threading.Event()
                threading.Thread(
                    target=self._refresh, args=(self._done,), name="GPU reading", daemon=True
                ).start()
            done = self._done
        done.wait(patience_s)
        with self._lock:
            age_s = None if self._read_at_s is None else time.monotonic() - self._read_at_s
            return self._latest, age_s

    def _refresh(self, done: threading.Event) -> None:
        try:
            found = self._read()
            with self._lock:
                self._latest, self._read_at_s = found, time.monotonic()
        finally:
            done.set()


MIB = 2**20


class CardMetrics(Collector):
    """Memory, load, temperature and power of each GPU, by the labels that workers have."""

    def __init__(self, reader: CardReader | None = None) -> None:
        self._reader = reader or CardReader()

    def collect(self) -> Iterator[Metric]:
        gpus, age_s = self._reader.latest()
        used = _of_gpu("memory_used_bytes", "Memory in use, of all programs.")
        total = _of_gpu("memory_total_bytes", "Memory.")
        load = _of_gpu("utilization_ratio", "Share of the last moment in which it computed.")
        heat = _of_gpu("temperature_celsius", "Temperature.")
        power = _of_gpu("power_watts", "Power drawn.")
        for card in gpus.devices:
            label = f"GPU {card.index}"
            parts: dict[str, GpuDevice | MigDevice] = {label: card}
            if card.mig:
                parts = {f"{label}:{place}": mig for place, mig in enumerate(card.mig)}
            for name, part in parts.items():
                if part.total_mib:
                    used.add_metric([name], part.used_mib * MIB)
                    total.add_metric([name], part.total_mib * MIB)
            if card.utilization is not None:
                load.add_metric([label], card.utilization / 100)
            if card.temperature_c is not None:
                heat.add_metric([label], card.temperature_c)
            if card.power_w is not None:
                power.add_metric([label], card.power_w)
        yield from (used, total, load, heat, power)
        if age_s is not None:
            text = "How old the numbers of GPUs are; it grows while a driver does not answer."
            yield GaugeMetricFamily("whisper_gpu_reading_age_seconds", text, age_s)


def _of_gpu(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"whisper_gpu_{name}", text, labels=["device"])
