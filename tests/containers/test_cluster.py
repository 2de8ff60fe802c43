"""Three containers as three machines on a private network: they work for one service, are killed,
cut off and frozen, and not a word changes."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.containers.conftest import HARDENED
from tests.containers.engine import ROOT, Engine, own_name
from tests.containers.service import OPEN, Service
from tests.jobs.recordings import joined
from tests.waiting import eventually

IMAGE = "whisper-for-subs-tests:cluster"

NODES = ("node-1", "node-2", "node-3")


@pytest.fixture(scope="module")
def cluster_image(engine: Engine, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image for machines without a GPU, with Ray."""
    options = ("--target=cpu", "--build-arg=CLUSTER=1")
    engine.build(ROOT, IMAGE, base_image, tmp_path_factory.mktemp("secrets"), *options)
    return IMAGE


class Machines:
    """Containers on one private network: a head, nodes of one worker each, and the service."""

    def __init__(self, engine: Engine, image: str) -> None:
        self.engine, self.image = engine, image
        self.network = own_name()
        engine.run("network", "create", self.network)
        self.containers: dict[str, str] = {}
        self.settings = {"WHISPER_CLUSTER_TOKEN": secrets.token_hex(32)}
        self.start("head", "cluster", "head")
        for name in NODES:
            self.start(name, "cluster", "join", "head:6379", "--cpus", "1")
        address = {**OPEN, "WHISPER_WORKERS": "1", "WHISPER_CLUSTER": "ray://head:10001"}
        self.service = Service(engine, self.run("service", (), **address))

    def start(self, name: str, *command: str) -> None:
        self.containers[name] = self.run(name, ("python", "-m", "cli.main", *command))

    def run(self, name: str, command: tuple[str, ...], **settings: str) -> str:
        given = {**self.settings, **settings}
        return self.engine.run(
            *("run", "-d", f"--name={own_name()}", f"--hostname={name}", *HARDENED),
            *("--shm-size=1g", "--restart=unless-stopped", "--publish=127.0.0.1::7860"),
            *([] if name in ("service", "alone") else ["--no-healthcheck"]),
            *(f"--network={self.network}", f"--network-alias={name}"),
            *(f"--env={key}={value}" for key, value in given.items()),
            *(self.image, *command),
        ).strip()

    def states(self) -> dict[str, str]:
        """Of the workers, by their labels."""
        found = self.service.get("/health").json()["workers"]
        return {each["label"]: each["state"] for each in found}

    def all_there(self) -> None:
        wanted = {"CPU 0", *(f"{name} CPU 0" for name in NODES)}

        def there() -> bool:
            states = self.states()
            return {*states} == wanted and {*states.values()} == {"idle"}

        eventually(there, "every machine's worker is idle")

    def working(self, name: str, recording: Path) -> str:
        """A job on which that machine is working. What ended before it began is done once more."""
        jobs = [self.service.submit(recording)]

        def busy() -> bool:
            if self.states().get(f"{name} CPU 0") == "busy":
                return True
            if self.service.job(jobs[-1])["ended"]:
                jobs.append(self.service.submit(recording))
            return False

        eventually(busy, f"{name} works")
        return jobs[-1]


@pytest.fixture(scope="module")
def machines(engine: Engine, cluster_image: str) -> Machines:
    found = Machines(engine, cluster_image)
    eventually(lambda: found.service.answers("/ready"), "the service is ready")
    return found


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return joined(tmp_path_factory.mktemp("recording") / "talk.wav", times=4)


@pytest.fixture(scope="module")
def alone(machines: Machines, recording: Path) -> bytes:
    """The same recording's subtitles from one machine."""
    service = Service(machines.engine, machines.run("alone", (), **OPEN, WHISPER_WORKERS="1"))
    eventually(lambda: service.answers("/ready"), "it is ready")
    srt = service.subtitles(service.submit(recording))
    machines.engine.run("rm", "--force", "--volumes", service.container)
    return srt


Disturb = Callable[[Engine, Machines, str], None]


def kill(engine: Engine, machines: Machines, name: str) -> None:
    engine.run("kill", machines.containers[name])


def start_again(engine: Engine, machines: Machines, name: str) -> None:
    engine.run("start", machines.containers[name])


def cut_off(engine: Engine, machines: Machines, name: str) -> None:
    engine.run("network", "disconnect", machines.network, machines.containers[name])


def connect(engine: Engine, machines: Machines, name: str) -> None:
    options = ("--alias", name, machines.network, machines.containers[name])
    engine.run("network", "connect", *options)


def freeze(engine: Engine, machines: Machines, name: str) -> None:
    engine.run("pause", machines.containers[name])


def thaw(engine: Engine, machines: Machines, name: str) -> None:
    engine.run("unpause", machines.containers[name])


@pytest.mark.parametrize(
    ("name", "disturb", "mend"),
    [
        ("node-1", kill, start_again),
        ("node-2", cut_off, connect),
        ("node-3", freeze, thaw),
    ],
)
def test_a_machine_that_fails_in_the_middle_changes_no_word(
    machines: Machines, alone: bytes, recording: Path, name: str, disturb: Disturb, mend: Disturb
) -> None:
    machines.all_there()
    job = machines.working(name, recording)
    disturb(machines.engine, machines, name)
    assert machines.service.subtitles(job) == alone
    mend(machines.engine, machines, name)
    machines.all_there()
    # It does its part again.
    assert machines.service.subtitles(machines.working(name, recording)) == alone
