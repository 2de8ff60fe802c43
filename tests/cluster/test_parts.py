"""What travels between machines, without one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.audio import HeldAudio, cut
from cluster.code import OURS, code_here, difference
from cluster.link import RemoteWorker
from cluster.models import RECEIVED, Receiving, find, fingerprint, sums_of
from cluster.protocol import End, Look, Order, Tell
from core.errors import ModelError
from core.pcm import BYTES_PER_SAMPLE, PcmSpool
from core.pool_job import DecodeRequest
from core.types import SAMPLE_RATE, AudioSegment, DecodeOptions, ModelSpec, SpeechSpan, Window
from workers.messages import Decode, Heartbeat, Stop, WorkerReady

MODEL = ModelSpec("mine", "/nowhere/mine", "int8", "cpu")
RECORDING_S = 20


def task_of(spool: PcmSpool, pieces: list[tuple[float, float]]) -> Decode:
    spans = tuple(SpeechSpan(start_s, start_s + length_s) for start_s, length_s in pieces)
    window = Window(pieces=spans, spans=spans)
    segment = AudioSegment(0, window.start_s, window.end_s, (window,))
    return Decode(1, DecodeRequest(model=MODEL, options=DecodeOptions()), spool, (segment,))


@given(
    pieces=st.lists(
        st.tuples(st.floats(0.0, RECORDING_S + 1.0), st.floats(0.01, 3.0)), min_size=1, max_size=6
    )
)
def test_a_node_reads_what_the_service_would(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[float, float]]
) -> None:
    spool = PcmSpool(tmp_path_factory.getbasetemp() / "audio.pcm")
    if not spool.path.exists():
        noise = np.random.default_rng(0).integers(-9, 9, RECORDING_S * SAMPLE_RATE, np.int16)
        spool.path.write_bytes(noise.tobytes())
    task = task_of(spool, sorted(pieces))
    parts = cut(task)
    held = HeldAudio.of(parts)
    there = held.placed_in(task).spool
    for piece in task.segments[0].windows[0].pieces:
        here = spool.read(piece.start_s, piece.end_s)
        assert np.array_equal(there.read(piece.start_s, piece.end_s), here)
    assert sum(len(samples) for _, samples in parts) <= RECORDING_S * SAMPLE_RATE * BYTES_PER_SAMPLE
    held.free()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "model.bin").write_bytes(os.urandom(100_000))
    (folder / "config.json").write_text("{}")
    (folder / "notes.log").write_text("no part of the model")
    return folder


def test_a_model_is_known_by_what_is_in_its_files(model: Path, tmp_path: Path) -> None:
    sums = sums_of(model)
    assert sorted(sums) == ["config.json", "model.bin"]
    other = tmp_path / "other"
    shutil.copytree(model, other)
    assert find(sums, [tmp_path / "none", other]) == other
    (other / "model.bin").write_bytes(b"other weights")
    assert find(sums, [other]) is None
    assert fingerprint(sums_of(other)) != fingerprint(sums)


def test_a_model_arrives_whole_or_not_at_all(model: Path, tmp_path: Path) -> None:
    sums, models_dir = sums_of(model), tmp_path / "models"
    damaged = Receiving(models_dir, sums)
    damaged.add("model.bin", b"half of it")
    with pytest.raises(ModelError, match="damaged"):
        damaged.done()
    assert [*(models_dir / RECEIVED).iterdir()] == []
    for _ in range(2):  # a second machine's copy changes nothing
        receiving = Receiving(models_dir, sums)
        for name in sums:
            content = (model / name).read_bytes()
            receiving.add(name, content[:1000])
            receiving.add(name, content[1000:])
        assert find(sums, [receiving.done()])
    assert [each.name for each in (models_dir / RECEIVED).iterdir()] == [fingerprint(sums)]


@pytest.mark.parametrize("name", ["../../escape", "/etc/passwd", "unknown.bin"])
def test_nothing_else_than_the_model_is_written(name: str, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file of this model"):
        Receiving(tmp_path / "models", sums_of(model)).add(name, b"x")


def test_machines_are_compared_by_what_decodes() -> None:
    here = code_here()
    assert difference(here, dict(here)) == ""
    assert difference(here, {**here, "Python": f"{here['Python'].rpartition('.')[0]}.99"}) == ""
    told = difference(here, {**here, OURS: "000000000000", "ctranslate2": "1.0"})
    assert OURS in told
    assert f"ctranslate2 1.0 instead of {here['ctranslate2']}" in told
    assert "numpy none" in difference(here, {k: v for k, v in here.items() if k != "numpy"})


class Link:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.given: list[Order] = []
        self.forgotten: list[int] = []

    def order(self, order: Order) -> None:
        self.given.append(order)

    def forget(self, run: int) -> None:
        self.forgotten.append(run)


def test_news_wakes_and_arrives_in_order_and_the_end_stays() -> None:
    link = Link()
    worker = RemoteWorker(link, 7)
    worker.send(Stop())
    assert link.given == [Tell(7, Stop())]
    worker.heard(Look((WorkerReady(), Heartbeat())))
    assert list(worker.messages()) == [WorkerReady(), Heartbeat()]
    assert not worker.ended
    worker.heard(Look((Heartbeat(),), ended="SIGSEGV"))
    assert (worker.ended, worker.lost) == (True, False)
    worker.send(Stop())
    assert len(link.given) == 1
    assert list(worker.messages()) == [Heartbeat()]
    assert worker.reap() == "SIGSEGV"


def test_a_kill_ends_it_here_at_once() -> None:
    link = Link()
    worker = RemoteWorker(link, 7)
    worker.heard(Look((WorkerReady(),)))
    assert list(worker.messages()) == [WorkerReady()]
    worker.kill("no progress")
    worker.kill("twice")
    assert link.given == [End(7)]
    assert 7 in link.forgotten
    assert (worker.ended, worker.lost) == (True, False)
    assert worker.reap() == "no progress"
