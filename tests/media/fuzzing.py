"""Damaged media through the decoder process, many in one process, every outcome accounted for.

    parent: run_fuzz()                            child: try_inputs()
    Trying(n)  ◄────────────────────────────────  writes input n, decodes it
    Tried(n)   ◄────────────────────────────────  a result, a typed error, or a bug

A process that dies, hangs or exceeds its limits takes one input with it: the one it said it was
trying. A new process goes on after it. Used by ``test_fuzz.py`` and ``python -m bench.fuzz``.
"""

from __future__ import annotations

import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import SubtitleError
from core.pcm import PcmSpool
from media.child import Send
from media.container import DecodeLimits
from media.decoder import MediaDecoder
from media.process import IsolatedProcess, ProcessLimits
from tests.media.containers import RECIPES, Recipe, Track, read_speech, write_media
from tests.media.mutations import mutated
from tests.waiting import PATIENCE_S

INTACT = Path(__file__).parent / "seeds" / "intact"
"""Codecs that the FFmpeg of the tests reads and cannot write."""

KEPT = Path(__file__).parent / "seeds" / "kept"
"""Inputs that once crashed something, raised what they should not, or took too much."""

CLIP = slice(8_000, 20_800)
"""0.8 s of speech: damage costs little time, and all of a container is there."""

MORE_RECIPES: dict[str, Recipe] = {
    "nut": Recipe("pcm_s16le"),
    "frag.mp4": Recipe("aac", 48_000, format="mp4"),
    "opus.mp4": Recipe("libopus", 48_000, format="mp4"),
    "alac.caf": Recipe("alac"),
    "msadpcm.wav": Recipe("adpcm_ms"),
    "ima.wav": Recipe("adpcm_ima_wav"),
    "ima.mov": Recipe("adpcm_ima_qt", format="mov"),
    "g726.wav": Recipe("g726", 8_000, format="wav"),
    "dfpwm.wav": Recipe("dfpwm", format="wav"),
    "flac.ogg": Recipe("flac", format="ogg"),
    "mxf": Recipe("pcm_s16le", 48_000, video="mpeg2video", format="mxf"),
    "vob": Recipe("ac3", 48_000, video="mpeg2video", format="vob"),
    "m2ts": Recipe("pcm_bluray", 48_000, layout="stereo", format="mpegts"),
    "wtv": Recipe("mp2", 48_000, format="wtv"),
    "sox": Recipe("pcm_s32le"),
    "ircam": Recipe("pcm_s16le", format="ircam"),
    "vorbis.mka": Recipe("vorbis", 44_100, "stereo", options={"strict": "-2"}, format="matroska"),
    "wv.mka": Recipe("wavpack", format="matroska", sample_format="s16p"),
    "loas": Recipe("aac", format="latm"),
    "nelly.flv": Recipe("nellymoser", 22_050, format="flv"),
    "rm": Recipe("real_144", 8_000, format="rm"),
}
"""Kinds nobody needs a test of their own for, but whose parsers strangers can reach."""

LIMITS = DecodeLimits(max_audio_s=120.0, max_spool_bytes=8 * 1024**2)

PROCESS_LIMITS = ProcessLimits(
    memory_bytes=512 * 1024**2,
    cpu_s=1800,
    file_bytes=16 * 1024**2,
    wall_clock_s=7200,
    stall_s=PATIENCE_S,
)

SLOW_S = 5.0
"""An input of half a megabyte at most that takes longer is worth a look."""


@dataclass(frozen=True, slots=True)
class Trying:
    number: int


@dataclass(frozen=True, slots=True)
class Tried:
    number: int
    outcome: str
    """``result``, or the class of the typed error."""
    seconds: float
    bug: str = ""
    """Traceback of an exception that is not ours."""


@dataclass(frozen=True, slots=True)
class Death:
    """The process did not survive an input."""

    number: int
    error: SubtitleError


@dataclass
class Tally:
    """What came of all inputs."""

    tried: list[Tried] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)

    @property
    def bugs(self) -> list[Tried]:
        return [tried for tried in self.tried if tried.bug]

    @property
    def slow(self) -> list[Tried]:
        return [tried for tried in self.tried if tried.seconds > SLOW_S]

    def outcomes(self) -> dict[str, int]:
        names = [tried.outcome for tried in self.tried]
        return {name: names.count(name) for name in sorted(set(names))}


def make_seeds(folder: Path) -> Path:
    """A small file of every container and codec, written into ``folder``; returns it."""
    clip = read_speech()[CLIP]
    for kind, recipe in {**RECIPES, **MORE_RECIPES}.items():
        options = {"fflags": "+bitexact"}  # no random ids: the same bytes every time
        if kind == "frag.mp4":
            options["movflags"] = "frag_keyframe+empty_moov"
        write_media(
            folder / f"seed.{kind}", [Track([(0.0, clip)])], recipe, container_options=options
        )
    for path in INTACT.iterdir():
        shutil.copy(path, folder / path.name.replace("speech.", "seed.", 1))
    return folder


def read_seeds(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def try_one(path: Path, spool: PcmSpool, limits: DecodeLimits = LIMITS) -> tuple[str, str]:
    """Outcome and, for an exception that is not ours, its traceback."""
    try:
        with MediaDecoder.open(path, limits) as decoder:
            for _ in decoder.decode_to(spool):
                pass
    except SubtitleError as error:
        return type(error).__name__, ""
    except MemoryError:
        return "MemoryError", ""  # media.child makes it MediaLimitExceeded
    except Exception as error:
        return type(error).__name__, traceback.format_exc()
    return "result", ""


def try_inputs(send: Send, seeds: Path, seed: int, numbers: list[int], folder: Path) -> None:
    """Body of the process: ``folder`` is its own."""
    files = read_seeds(seeds)
    for number in numbers:
        name, data = mutated(files, seed, number)
        path = folder / name
        path.write_bytes(data)
        send(Trying(number))
        started = time.monotonic()
        outcome, bug = try_one(path, PcmSpool(folder / "audio.pcm"))
        send(Tried(number, outcome, time.monotonic() - started, bug))
        path.unlink()


def run_fuzz(
    seeds: Path,
    seed: int,
    count: int,
    folder: Path,
    *,
    processes: int = 2,
    target: Callable[..., None] = try_inputs,
    limits: ProcessLimits = PROCESS_LIMITS,
    tell: Callable[[Tried | Death], None] = lambda _: None,
) -> Tally:
    """Try inputs 0 to ``count`` of a seed, over several processes at a time."""
    tally = Tally()
    errors: list[BaseException] = []
    lock = threading.Lock()

    def work(part: int) -> None:
        own = folder / f"process-{part}"
        own.mkdir()
        numbers = list(range(part, count, processes))

        def start(rest: list[int]) -> IsolatedProcess[None]:
            return IsolatedProcess(target, seeds, seed, rest, own, name="fuzz", limits=limits)

        try:
            for item in _outcomes(start, numbers):
                with lock:
                    if isinstance(item, Death):
                        tally.deaths.append(item)
                    else:
                        tally.tried.append(item)
                    tell(item)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return tally


def _outcomes(
    start: Callable[[list[int]], IsolatedProcess[None]], numbers: list[int]
) -> Iterator[Tried | Death]:
    while numbers:
        current: int | None = None
        try:
            with start(numbers) as process:
                for message in process.messages():
                    if isinstance(message, Trying):
                        current = message.number
                    elif isinstance(message, Tried):
                        current = None
                        yield message
                return
        except SubtitleError as error:
            if current is None:
                raise  # not an input's doing
            yield Death(current, error)
            numbers = numbers[numbers.index(current) + 1 :]


def write_input(seeds: Mapping[str, bytes], seed: int, number: int, folder: Path) -> Path:
    """Keep one input as a file, named after where it comes from."""
    name, data = mutated(seeds, seed, number)
    path = folder / f"{seed}-{number}-{name.removeprefix('seed.')}"
    path.write_bytes(data)
    return path
