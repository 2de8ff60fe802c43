"""What runs in the process of a download in tests of its walls."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from media.child import Send
from media.download_child import Downloaded, Order, fetch
from media.download_guard import NetworkGuard


def fetch_where_names_are(send: Send, order: Order, names: dict[str, list[str]]) -> Downloaded:
    """Fetch where the resolver knows these names alone, each with an address for every time it is
    asked; the last one stays."""

    def resolve(host: Any, port: Any, *args: Any, **options: Any) -> list[Any]:
        sys.audit("socket.getaddrinfo", host, port, 0, 0, 0)
        known = names.get(host)
        if known is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        address = known.pop(0) if len(known) > 1 else known[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    socket.getaddrinfo = resolve
    return fetch(send, order)


def try_everything(send: Send) -> dict[str, str]:
    """What a guarded process gets for what a download has no business with."""
    guard = NetworkGuard(())
    guard.install()
    attempts: dict[str, Callable[[], object]] = {
        "program": lambda: subprocess.run(["/bin/true"], check=True),
        "shell": lambda: os.system("true"),
        "fork": os.fork,
        "loopback": lambda: socket.create_connection(("127.0.0.1", 9)),
        "mapped loopback": lambda: socket.create_connection(("::ffff:127.0.0.1", 9)),
        "name": lambda: socket.socket().connect(("localhost", 9)),
        "unix": lambda: socket.socket(socket.AF_UNIX).connect("/run/docker.sock"),
        "datagram": lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("10.0.0.1", 9)),
    }
    results = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            results[name] = "done"
        except OSError as error:
            results[name] = str(error)
    return results
