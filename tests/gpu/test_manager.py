"""The calls of the owner's guides, as written there, on machines of every kind."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from core.errors import InvalidOption, ModelError
from gpu.manager import GpuManager, gpu_manager
from tests.conftest import ROOT
from tests.gpu.fake_nvml import Card, FakeNvml, Mig, Process, absent

GUIDE = """
import json
from gpu.manager import gpu_manager

result = gpu_manager.calculate_memory_usage("medium")
print(f"{result['total_required']:.2f}GB")
print(f"{result['recommended']:.2f}GB")
result = gpu_manager.calculate_memory_usage(
    model_name="large", segment_duration=600, batch_size=2, precision="int8"
)
for component, memory in result['breakdown'].items():
    print(f"{component}: {memory:.2f}GB")
result = gpu_manager.check_gpu_memory_sufficient(
    model_name="medium", gpu_ids=[0], segment_duration=300, batch_size=1, precision="float16"
)
if result['sufficient']:
    print("enough")
else:
    print(result['message'])
    for tip in result['optimization_suggestions']:
        print(tip)
for duration in [30, 60, 120, 300, 600]:
    calc = gpu_manager.calculate_memory_usage("medium", segment_duration=duration)
    print(f"{duration}: {calc['recommended']:.1f}GB")
for precision in ["float32", "float16", "int8", "int4"]:
    calc = gpu_manager.calculate_memory_usage("large", precision=precision)
    print(f"{precision}: {calc['recommended']:.1f}GB")
gpu_info = gpu_manager.get_cuda_debug_info()
print(json.dumps(gpu_info, indent=2, ensure_ascii=False))
gpu_manager.release_all_memory()
"""


def test_guide_runs_as_written_without_a_gpu_and_loads_no_engine() -> None:
    code = GUIDE + "import sys; assert not {'torch', 'ctranslate2'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "float32:" in done.stdout


def test_guides_memory_info_runs_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml([Card(total_mib=8192, used_mib=1024)]).install(monkeypatch)
    memory_info = gpu_manager.get_gpu_memory_info()
    assert f"{memory_info['gpus'][0]['used']:.2f}GB" == "1.00GB"
    assert f"{memory_info['gpus'][0]['free']:.2f}GB" == "7.00GB"


def test_backend_pytorch_is_the_guides_rule() -> None:
    result = gpu_manager.calculate_memory_usage(
        "large", segment_duration=600, batch_size=2, precision="int8", backend="pytorch"
    )
    assert (result["total_required"], result["recommended"]) == (29.625, 35.55)
    assert result["breakdown"] == {
        "base_model": 2.5,
        "audio_processing": 7.5,
        "batch_processing": 15.2,
        "pytorch_overhead": 4.425,
    }


def test_default_backend_is_the_engine_that_runs() -> None:
    one = gpu_manager.calculate_memory_usage("large-v2", batch_size=1)
    assert one["total_required"] * 1024 == pytest.approx(4525, rel=0.05)
    assert one["recommended"] == pytest.approx(one["total_required"] * 1.1)
    assert sum(one["breakdown"].values()) == pytest.approx(one["total_required"])
    assert (one["error"], one["source"], one["notes"]) == (0.10, "calculated", [])
    long = gpu_manager.calculate_memory_usage("large-v2", segment_duration=600)
    assert long["total_required"] == one["total_required"]
    assert long["notes"] == [
        "The length of a segment does not change the memory: Whisper decodes windows of 30 s."
    ]
    assert gpu_manager.calculate_memory_usage("base", 60, backend="pytorch")["notes"] == []


@pytest.mark.parametrize("backend", ["ctranslate2", "pytorch"])
def test_int4_is_calculated_with_a_note_that_it_cannot_be_run(backend: Any) -> None:
    int4 = gpu_manager.calculate_memory_usage("large", precision="int4", backend=backend)
    assert int4["total_required"] > 0
    assert int4["notes"] == ["This app cannot run int4; the nearest it has is int8."]


def test_whether_int4_fits_is_not_answered_for_the_engine_that_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FakeNvml([Card(total_mib=24576)]).install(monkeypatch)
    with pytest.raises(InvalidOption, match="cannot run int4"):
        gpu_manager.check_gpu_memory_sufficient("base", precision="int4")
    with pytest.raises(InvalidOption, match="cannot run int4"):
        gpu_manager.can_run_concurrent_task("base", [], precision="int4")
    with pytest.raises(InvalidOption, match="cannot run int4"):
        gpu_manager.can_run_concurrent_task("base", [{"model": "base", "precision": "int4"}])
    with pytest.raises(InvalidOption, match="cannot run int4"):
        gpu_manager.assign_optimal_model(8, precision="int4")
    by_the_rule = gpu_manager.check_gpu_memory_sufficient(
        "base", precision="int4", backend="pytorch"
    )
    assert by_the_rule["sufficient"]
    assert "cannot run int4" in by_the_rule["notes"][0]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"model_name": "huge"}, ModelError),
        ({"model_name": "base", "precision": "float8"}, InvalidOption),
        ({"model_name": "base", "batch_size": 0}, InvalidOption),
        ({"model_name": "base", "beam_size": 0}, InvalidOption),
        ({"model_name": "base", "segment_duration": -1}, InvalidOption),
        ({"model_name": "base", "segment_duration": float("nan")}, InvalidOption),
        ({"model_name": "base", "backend": "jax"}, InvalidOption),
    ],
)
def test_wrong_questions_are_told(arguments: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        gpu_manager.calculate_memory_usage(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 4, 8])
def test_every_card_must_have_room(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    cards = [Card(total_mib=24576) for _ in range(count)]
    FakeNvml(cards).install(monkeypatch)
    assert gpu_manager.check_gpu_memory_sufficient("large-v3", batch_size=8)["sufficient"]
    cards[-1].processes = [Process(4321, 20000, "blender")]
    result = gpu_manager.check_gpu_memory_sufficient("large-v3", batch_size=8)
    assert not result["sufficient"]
    assert [gpu["sufficient"] for gpu in result["gpus"]] == [True] * (count - 1) + [False]
    assert "held by blender (pid 4321, 20,000 MiB)" in result["message"]
    assert result["optimization_suggestions"][0] == (
        "Use int8_float16 instead of float16 and a batch of 6: about 4,141 MiB (±10%)."
    )
    free = gpu_manager.check_gpu_memory_sufficient("large-v3", list(range(count - 1)), batch_size=8)
    assert free["sufficient"] is (count > 1)


def test_mixed_cards_are_judged_by_what_each_can(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(
        [Card(total_mib=24576), Card(total_mib=6144, capability=(6, 1), name="GTX 1060")]
    ).install(monkeypatch)
    result = gpu_manager.check_gpu_memory_sufficient("medium", [0, 1])
    assert [gpu["sufficient"] for gpu in result["gpus"]] == [True, False]
    assert "float16 needs compute capability 7.0 or newer; this card has 6.1" in result["message"]


def test_mig_devices_are_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml([Card(total_mib=40960, mig=[Mig(total_mib=4864), Mig(total_mib=19968)])])
    fake.install(monkeypatch)
    assert fake.cards[0].mig is not None
    small, large = (mig.uuid for mig in fake.cards[0].mig)
    result = gpu_manager.check_gpu_memory_sufficient("large-v3", [small, large], batch_size=8)
    assert [gpu["sufficient"] for gpu in result["gpus"]] == [False, True]


def test_a_card_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml([Card(), Card()]).install(monkeypatch)
    result = gpu_manager.check_gpu_memory_sufficient("tiny", [7])
    assert not result["sufficient"]
    assert result["message"] == "GPU 7 does not exist: there are 2 GPUs."


@pytest.mark.parametrize("errors", [{"nvmlInit": "DRIVER_NOT_LOADED"}, {"nvmlInit": "UNKNOWN"}])
def test_without_an_answer_of_the_driver_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, errors: dict[str, str]
) -> None:
    FakeNvml([Card()], errors=errors).install(monkeypatch)
    result = gpu_manager.check_gpu_memory_sufficient("tiny")
    assert not result["sufficient"]
    assert "NVML says" in result["message"]
    assert "CPU" in result["optimization_suggestions"][0]
    named = gpu_manager.check_gpu_memory_sufficient("tiny", [0])
    assert named["message"].startswith("GPU 0 does not exist: NVML says: ")
    assert not named["message"].endswith("..")
    assert named["optimization_suggestions"] == result["optimization_suggestions"]
    assert gpu_manager.can_run_concurrent_task("tiny", []) is False


def test_without_the_package_everything_still_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch)
    assert gpu_manager.get_gpu_memory_info()["gpus"] == []
    json.dumps(gpu_manager.get_cuda_debug_info())
    assert not gpu_manager.check_gpu_memory_sufficient("tiny", [0])["sufficient"]
    assert GpuManager().release_all_memory()["released_workers"] == 0


def test_report_is_given_whatever_the_settings_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPER_WORKERS", "many")
    info = gpu_manager.get_cuda_debug_info()
    assert "the settings are wrong" in json.dumps(info)


def test_task_may_start_while_the_sum_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml([Card(total_mib=8192)]).install(monkeypatch)
    manager = GpuManager()
    each = manager.calculate_memory_usage("medium")["recommended"]
    fitting = int(8 // each)
    running = [{"model": "medium"}] * (fitting - 1)
    assert manager.can_run_concurrent_task("medium", running)
    assert not manager.can_run_concurrent_task("medium", [*running, {"model": "medium"}])
    # The guide's own numbers: 2.5 + 0.375 + 0.575 + 0.76875, x 1.2 = 5.0625 GB.
    assert manager.can_run_concurrent_task("medium", [], backend="pytorch")
    assert not manager.can_run_concurrent_task("medium", [{"model": "tiny", "batch_size": 20}],
                                               backend="pytorch")  # fmt: skip


@pytest.mark.parametrize(
    ("available", "pytorch", "ctranslate2"),
    [(24, "large", "large"), (10, "large", "large"), (6, "medium", "large"),
     (4, "small", "medium"), (2, "tiny", "small"), (0.1, "tiny", "tiny")],
)  # fmt: skip
def test_guides_choice_is_the_largest_that_fits(
    available: float, pytorch: str, ctranslate2: str
) -> None:
    assert gpu_manager.assign_optimal_model(available, backend="pytorch") == pytorch
    assert gpu_manager.assign_optimal_model(available) == ctranslate2


def test_shortage_by_the_guides_rule_gets_the_guides_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FakeNvml([Card(total_mib=8192)]).install(monkeypatch)
    result = gpu_manager.check_gpu_memory_sufficient("medium", [0], 300, backend="pytorch")
    assert not result["sufficient"]
    assert result["optimization_suggestions"][0].startswith("Use segments of 60 s")
    assert gpu_manager.check_gpu_memory_sufficient("medium", [0], 300)["sufficient"]
