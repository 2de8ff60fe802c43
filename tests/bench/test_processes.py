"""Against real processes of the test: what the kernel says of them is what the benches judge by."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.processes import children, holdings, working_in, zombies

PARENT = """
import subprocess, sys, os, threading
file = open(sys.argv[1])
threading.Thread(target=sys.stdin.read, daemon=True).start()
child = subprocess.Popen([sys.executable, "-c", "print('up', flush=True); input()"],
                         stdin=int(sys.argv[2]), stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
threading.Event().wait()
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process in a folder of its own, with an open file, a second thread and a child."""
    opened = tmp_path / "opened"
    opened.touch()
    # The child waits for this pipe and not for its parent, so that it can be an orphan.
    waits, ends = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(opened), str(waits)],
        pass_fds=[waits],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        yield process, child
        process.kill()
    os.close(waits)
    os.close(ends)


def test_a_folder_finds_a_process_and_what_it_started_even_orphaned(
    parent: tuple[subprocess.Popen[str], int], tmp_path: Path
) -> None:
    process, child = parent
    assert [found.pid for found in working_in(tmp_path)] == sorted([process.pid, child])
    assert working_in(tmp_path.parent) == []
    assert children(process.pid) == [child]
    process.kill()
    process.wait()
    assert [found.pid for found in working_in(tmp_path)] == [child]


def test_a_child_that_nobody_collects_is_a_zombie_and_no_process(
    parent: tuple[subprocess.Popen[str], int], tmp_path: Path
) -> None:
    process, child = parent
    assert zombies(process.pid) == []
    pidfd = os.pidfd_open(child)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    # Not the test's own child: only its descriptor tells when it has ended.
    assert select.select([pidfd], [], [], 10.0)[0]
    os.close(pidfd)
    assert zombies(process.pid) == [child]
    assert [found.pid for found in working_in(tmp_path)] == [process.pid]


def test_holdings_name_memory_threads_and_open_files(
    parent: tuple[subprocess.Popen[str], int], tmp_path: Path
) -> None:
    process, _ = parent
    held = holdings(process.pid)
    assert held is not None
    assert held.threads == 2
    assert str(tmp_path / "opened") in held.descriptors
    assert 1.0 < held.pss_mib <= held.rss_mib < 200.0
    process.kill()
    process.wait()
    assert holdings(process.pid) is None


def test_visitors_of_its_port_are_not_a_processes_own_descriptors() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        before = holdings(os.getpid())
        visitor = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        with visitor, accepted:
            during = holdings(os.getpid())
    assert before is not None
    assert during is not None
    # The visitor's own end, which has another port, is one.
    assert len(during.descriptors) == len(before.descriptors) + 1
