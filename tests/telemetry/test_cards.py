"""GPUs in the metrics, and a driver that hangs."""

from __future__ import annotations

import threading

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gpu.nvml import GpuDevice, GpuList, MigDevice
from telemetry.cards import CardMetrics, CardReader
from tests.waiting import PATIENCE_S, eventually

CARDS = GpuList(
    devices=(
        GpuDevice(
            index=0,
            uuid="GPU-1",
            name="NVIDIA L4",
            total_mib=24_000,
            used_mib=6_000,
            utilization=40,
            temperature_c=61,
            power_w=70.5,
        ),
        GpuDevice(
            index=1,
            uuid="GPU-2",
            name="NVIDIA A100",
            total_mib=40_000,
            mig=(
                MigDevice(uuid="MIG-1", name="1g", total_mib=4_000, used_mib=1_000, free_mib=3_000),
            ),
        ),
        # Nothing of it is known but that it is there.
        GpuDevice(index=2, uuid="", name="", problem="NVML says: GPU is lost."),
    )
)


def shown(metrics: CardMetrics) -> dict[tuple[str, str], float]:
    """Values by name and device."""
    text = generate_latest(metrics).decode()
    return {
        (one.name, one.labels.get("device", "")): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_cards_are_shown_by_the_labels_of_their_workers() -> None:
    found = shown(CardMetrics(CardReader(lambda: CARDS)))
    assert found.pop(("whisper_gpu_reading_age_seconds", "")) >= 0
    assert found == {
        ("whisper_gpu_memory_used_bytes", "GPU 0"): 6_000 * 2**20,
        ("whisper_gpu_memory_total_bytes", "GPU 0"): 24_000 * 2**20,
        ("whisper_gpu_memory_used_bytes", "GPU 1:0"): 1_000 * 2**20,
        ("whisper_gpu_memory_total_bytes", "GPU 1:0"): 4_000 * 2**20,
        ("whisper_gpu_utilization_ratio", "GPU 0"): 0.4,
        ("whisper_gpu_temperature_celsius", "GPU 0"): 61,
        ("whisper_gpu_power_watts", "GPU 0"): 70.5,
    }


def test_a_driver_that_hangs_holds_up_one_thread_and_the_last_numbers_stay() -> None:
    hangs, answers = threading.Event(), threading.Event()
    reads: list[int] = []

    def read() -> GpuList:
        reads.append(1)
        if len(reads) == 2:
            hangs.set()
            assert answers.wait(PATIENCE_S)
        return CARDS

    reader = CardReader(read)
    assert reader.latest(PATIENCE_S)[0] == CARDS
    for _ in range(3):
        gpus, age_s = reader.latest(0.01)
        assert gpus == CARDS
        assert age_s is not None
    assert hangs.wait(PATIENCE_S)
    assert len(reads) == 2, "one read at a time"
    answers.set()
    eventually(lambda: bool(reader.latest(PATIENCE_S)) and len(reads) > 2, "it is read again")


def test_before_the_first_answer_there_is_no_age() -> None:
    answers = threading.Event()

    def read() -> GpuList:
        assert answers.wait(PATIENCE_S)
        return CARDS

    assert CardReader(read).latest(0.0) == (GpuList(), None)
    answers.set()
