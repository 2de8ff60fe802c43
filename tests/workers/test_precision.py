"""Compute type and batch that were left open: each device takes what it can."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import ComputeTypeUnsupported, ModelError
from core.models import AUTO
from core.pool_job import PoolEvent
from core.types import ModelSpec
from tests.waiting import PATIENCE_S, eventually
from tests.workers.conftest import QUICK, Bench, incidents, texts
from tests.workers.scripted_engine import FACTORY, read_log
from workers.devices import Device
from workers.memory import LoadPlan, Verdict
from workers.pool import WorkerPool

AMPERE, PASCAL, MAXWELL = (8, 6), (6, 1), (5, 2)
NO_FLOAT16 = (
    "Requested float16 compute type, but the target device or backend do not support efficient"
    " float16 computation."
)
NO_INT8 = "cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED"


def pool_of(bench: Bench, *capabilities: tuple[int, int], **options: object) -> WorkerPool:
    devices = [
        Device(f"GPU {i}", "cuda", str(i), f"card {i}", capability)
        for i, capability in enumerate(capabilities)
    ]
    pool = WorkerPool(devices, engine=FACTORY, limits=QUICK, **options)  # type: ignore[arg-type]
    bench.pools.append(pool)
    return pool


def open_model(bench: Bench, **script: Any) -> ModelSpec:
    return replace(bench.gpu_model(**script), compute_type=AUTO)


def loaded(model: ModelSpec) -> list[str]:
    return [entry["compute_type"] for entry in read_log(model, "load")]


def test_each_card_takes_the_best_compute_type_it_can(bench: Bench) -> None:
    model = open_model(bench)
    pool = pool_of(bench, AMPERE, PASCAL, MAXWELL)
    pool.preload(model).result(PATIENCE_S)
    assert sorted(loaded(model)) == ["float16", "float32", "int8_float32"]
    statuses = {status.label: status.compute_type for status in pool.status()}
    assert statuses == {"GPU 0": "float16", "GPU 1": "int8_float32", "GPU 2": "float32"}
    job = bench.submit(pool, model, 6)
    assert len(texts(list(job.events()))) == 6
    assert all(report.compute_type == statuses[report.device] for report in job.reports)


@pytest.mark.parametrize("said", [NO_FLOAT16, NO_INT8])
def test_what_a_first_inference_rejects_is_not_taken_again(bench: Bench, said: str) -> None:
    model = open_model(bench, cannot={"float16": said})
    pool = pool_of(bench, AMPERE)
    events: list[PoolEvent] = list(bench.submit(pool, model, 3).events())
    assert len(texts(events)) == 3
    assert incidents(events) == ["precision_changed"]
    assert loaded(model) == ["float16", "int8_float16"]
    # Known from now on: the next job does not try it again.
    assert len(texts(list(bench.submit(pool, model, 2).events()))) == 2
    assert loaded(model) == ["float16", "int8_float16"]


def test_compute_type_that_was_asked_for_is_not_replaced(bench: Bench) -> None:
    model = bench.gpu_model(cannot={"float16": NO_FLOAT16})
    with pytest.raises(ComputeTypeUnsupported, match="float16"):
        list(bench.submit(pool_of(bench, AMPERE), model, 1).events())
    assert loaded(model) == ["float16"]


def test_damaged_model_is_not_tried_in_every_compute_type(bench: Bench) -> None:
    model = open_model(bench, load="raise")
    with pytest.raises(ModelError, match="damaged"):
        list(bench.submit(pool_of(bench, AMPERE), model, 1).events())
    assert loaded(model) == ["float16"]


def test_lower_precision_is_taken_where_the_best_does_not_fit(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def fits(plan: LoadPlan) -> Verdict:
        asked.append(plan.model.compute_type)
        return Verdict("wait" if plan.model.compute_type == "float16" else "yes", "too much")

    model = open_model(bench)
    pool = pool_of(bench, AMPERE, fits=fits, wait_for_devices=True)
    assert len(texts(list(bench.submit(pool, model, 2).events()))) == 2
    assert loaded(model) == ["int8_float16"]
    assert asked[:2] == ["float16", "int8_float16"]
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    line = f"[GPU 0] takes {model.name} in int8_float16 instead of float16: too much"
    assert warned == [line]


def test_command_takes_a_lower_precision_too_before_it_tries_what_does_not_fit(
    bench: Bench,
) -> None:
    """Nobody waits for memory there, and what cannot fit is tried only where nothing does."""
    fitting = {"int8_float16"}

    def fits(plan: LoadPlan) -> Verdict:
        return Verdict("yes" if plan.model.compute_type in fitting else "wait", "too much")

    model = open_model(bench)
    list(bench.submit(pool_of(bench, AMPERE, fits=fits), model, 2).events())
    assert loaded(model) == ["int8_float16"]
    fitting.clear()
    other = replace(bench.gpu_model("other"), compute_type=AUTO)
    assert len(texts(list(bench.submit(pool_of(bench, AMPERE, fits=fits), other, 2).events()))) == 2
    assert loaded(other) == ["float16"]


def test_mixed_cards_take_batches_of_their_own(bench: Bench) -> None:
    def plan_batch(device: Device, model: ModelSpec, beam_size: int, asked: int) -> int:
        assert (beam_size, asked) == (5, 0)
        return {"GPU 0": 4, "GPU 1": 1}[device.label]

    # The card with small batches waits, lest it takes everything before the other has begun.
    model = bench.gpu_model(together=True, devices={"1": "gate"})
    pool = pool_of(bench, AMPERE, AMPERE, plan_batch=plan_batch)
    pool.preload(model).result(PATIENCE_S)
    job = bench.submit(pool, model, 40)
    eventually(
        lambda: (
            any(len(entry["indices"]) == 4 for entry in read_log(model, "decode"))
            and any(read_log(model, "waiting"))
        ),
        "both cards decode, one of them four segments at once",
    )
    Path(model.path, "gate").touch()
    assert len(texts(list(job.events()))) == 40
    decodes = read_log(model, "decode")
    assert {entry["batch_size"] for entry in decodes} == {4, 1}
    assert all(len(entry["indices"]) <= entry["batch_size"] for entry in decodes)
    assert max(len(e["indices"]) for e in decodes if e["batch_size"] == 4) == 4


def test_batch_that_ran_out_of_memory_is_not_tried_again(bench: Bench) -> None:
    model = bench.gpu_model(actions={"0": "halve"})
    pool = pool_of(bench, AMPERE)
    list(bench.submit(pool, model, 3, batch_size=8).events())
    list(bench.submit(pool, model, 20, batch_size=8).events())
    batches = [entry["batch_size"] for entry in read_log(model, "decode")]
    assert batches[0] == 8
    assert set(batches[1:]) == {4}
