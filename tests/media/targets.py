"""What the isolated process is asked to run in the tests; the children import it."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

from core.errors import MediaLimitExceeded, SubtitleError
from core.pcm import PcmSpool
from media.child import Send
from media.container import DecodeLimits
from media.decoder import MediaDecoder
from tests.media.fuzzing import Tried, Trying


def decode(send: Send, path: Path, spool: PcmSpool, limits: DecodeLimits) -> int:
    with MediaDecoder.open(path, limits) as decoder:
        for block in decoder.decode_to(spool):
            send(len(block))
        return decoder.samples


def decode_and_measure(send: Send, path: Path, spool: PcmSpool, limits: DecodeLimits) -> int:
    """Sends the process's peak of resident memory in bytes, however the decoding ends."""
    try:
        return decode(lambda _: None, path, spool, limits)
    finally:
        # Not getrusage: its peak counts the parent's memory at the time of the fork.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        send(int(peak.split()[1]) * 1024)


def error_of(path: Path, spool: PcmSpool, limits: DecodeLimits) -> SubtitleError | None:
    """Decode here; None: it was heard."""
    try:
        decode(lambda _: None, path, spool, limits)
    except SubtitleError as error:
        return error
    return None


def errors_of(
    send: Send, paths: list[Path], spool: PcmSpool, limits: DecodeLimits
) -> list[SubtitleError | None]:
    errors = []
    for path in paths:
        errors.append(error_of(path, spool, limits))
        send(path)
    return errors


def count(send: Send, numbers: int) -> str:
    for number in range(numbers):
        send(number)
    return "done"


def send_for_ever(send: Send) -> None:
    while True:
        send("more")


def wait_for_ever(send: Send) -> None:
    send(os.getpid())
    threading.Event().wait()


def stop_itself(send: Send) -> None:
    send("before")
    os.kill(os.getpid(), signal.SIGSTOP)


def die_by(send: Send, number: int) -> None:
    send("before")
    os.kill(os.getpid(), number)


def read_address_zero(send: Send) -> None:
    send("before")
    ctypes.string_at(0)


def leave(send: Send, code: int) -> None:
    os._exit(code)


def burn_processor_time(send: Send) -> None:
    while True:
        pass


def take_memory(send: Send) -> int:
    return len(bytearray(5 * 1024**3))


def take_memory_outside_python(send: Send) -> None:
    """As libav does: blocks of its own, until it gets no more."""
    taken = 0
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    while libc.malloc(ctypes.c_size_t(16 * 1024**2)):
        taken += 16 * 1024**2
    send(taken)
    raise MemoryError


def write_a_large_file(send: Send, path: Path, size: int) -> None:
    path.write_bytes(bytes(size))


def open_many_files(send: Send, path: Path) -> int:
    files = []
    try:
        while True:
            files.append(path.open("rb"))
    except OSError:
        return len(files)
    finally:
        for file in files:
            file.close()


def tell_environment(send: Send) -> dict[str, object]:
    """Its variables as Python, a library, a program it starts and a stranger see them."""
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    return {
        "python": dict(os.environ),
        "library": libc.getenv(b"DATABASE_URL"),
        "program": subprocess.run(["env"], capture_output=True, text=True, check=True).stdout,
        "/proc": Path("/proc/self/environ").read_bytes(),
    }


def gain_no_rights(send: Send) -> str:
    return Path("/proc/self/status").read_text(encoding="ascii", errors="replace")


def die_and_hang_on_some(
    send: Send, seeds: Path, seed: int, numbers: list[int], folder: Path
) -> None:
    """In place of ``fuzzing.try_inputs``: input 3 crashes, 4 hangs, 5 takes all memory."""
    for number in numbers:
        send(Trying(number))
        if number == 3:
            ctypes.string_at(0)
        elif number == 4:
            os.kill(os.getpid(), signal.SIGSTOP)
        elif number == 5:
            take_memory(send)
        send(Tried(number, "result", 0.0))


def refuse(send: Send) -> None:
    raise MediaLimitExceeded("too strange", hint="less of it")


def stumble(send: Send) -> None:
    raise ZeroDivisionError("a bug")


def return_what_cannot_be_sent(send: Send) -> object:
    return lambda: None


def send_what_cannot_be_sent(send: Send) -> None:
    send(threading.Lock())


def log_something(send: Send) -> None:
    logging.getLogger("media.decoder").warning("Damaged data at %.1f s in %r", 1.5, object)
    try:
        stumble(send)
    except ZeroDivisionError:
        logging.getLogger("media.decoder").exception("with its traceback")


def describe_itself(send: Send) -> dict[str, object]:
    kinds = ("RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_AS")
    return {
        **{kind: resource.getrlimit(getattr(resource, kind))[0] for kind in kinds},
        "comm": Path("/proc/self/comm").read_text().strip(),
        "ignores_sigint": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    }
