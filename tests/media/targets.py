"""What the isolated process is asked to run in ``test_process.py``; spawned children import it."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import sys
import threading
from pathlib import Path

from core.errors import MediaLimitExceeded
from core.pcm import PcmSpool
from media.child import Send
from media.container import DecodeLimits
from media.decoder import DecodeSummary, MediaDecoder


def decode(send: Send, path: Path, spool: PcmSpool, limits: DecodeLimits) -> DecodeSummary:
    with MediaDecoder(path, limits) as decoder:
        for block in decoder.decode_to(spool):
            send(len(block))
        return decoder.summary()


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


def write_a_large_file(send: Send, path: Path) -> None:
    path.write_bytes(bytes(1_000_000))


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
