"""The main program of every process that ``core.processes`` starts; run by its path.

Only the standard library: where ours lies is the first thing the parent tells.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def main() -> None:
    """``child_main.py CONNECTION LIFELINE NAME``, the first two being inherited descriptors."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    descriptor, lifeline, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    for each in (descriptor, lifeline):
        os.set_inheritable(each, False)  # the lifeline ends with this process
    with suppress(OSError):  # only Linux has names for ps and top; 15 characters of it are kept
        Path("/proc/self/comm").write_text(name, encoding="utf-8")
    connection: Connection[Any, Any] = Connection(descriptor)
    try:
        sys.path[:] = connection.recv()
        order = connection.recv_bytes()
    except (EOFError, ConnectionError):
        sys.exit(1)  # the parent has gone
    target, args = pickle.loads(order)
    target(connection, *args)


if __name__ == "__main__":
    main()
