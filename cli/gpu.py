"""``gpu``: the GPUs, their memory and its holders; live on a terminal, like ``gpustat``.

The lines are redrawn where they stand: whatever ends the command, the terminal stays as it was.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
import time

from core.errors import InvalidOption
from core.logs import one_line
from gpu.nvml import GpuDevice, GpuList, GpuProcess, MigDevice, read_gpus
from gpu.report import memory_info

DEFAULT_INTERVAL_S = 2.0
SHORTEST_S, LONGEST_S = 0.1, 86400.0

BAR = 10
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"
CLEAR_LINE, CLEAR_BELOW = "\x1b[K", "\x1b[J"


def gpu(args: argparse.Namespace) -> int:
    live = sys.stdout.isatty() and not args.once
    interval = _interval(args.interval, live)
    gpus = read_gpus()
    if args.json:
        print(json.dumps(memory_info(gpus), indent=2))
        return 0
    if not gpus.devices:
        print(_nothing(gpus), file=sys.stderr)
        return 1
    if interval is None or args.once:
        print("\n".join(view(gpus)))
        return 0
    try:
        _watch(gpus, interval, redraw=live)
    except KeyboardInterrupt:
        print()
    return 0


def view(gpus: GpuList, width: int = 0) -> list[str]:
    """The lines; the processes wrapped to ``width`` where it is not 0."""
    if not gpus.devices:
        return [_nothing(gpus)]
    cuda = "" if gpus.cuda is None else f", CUDA up to {gpus.cuda[0]}.{gpus.cuda[1]}"
    lines = [f"{time.strftime('%H:%M:%S')}  driver {gpus.driver or 'unknown'}{cuda}"]
    names = max(len(card.name) for card in gpus.devices)
    for card in gpus.devices:
        lines.append(_card(card, names))
        for place, mig in enumerate(card.mig):
            lines.append(f"    {card.index}:{place} {one_line(mig.name)} | {_memory(mig)}")
            lines += _processes(mig.processes, width)
        if not card.mig:
            lines += _processes(card.processes, width)
    return lines


def _interval(asked: float | None, live: bool) -> float | None:
    """Seconds between two views; None for one view."""
    if asked is None:
        return DEFAULT_INTERVAL_S if live else None
    if not SHORTEST_S <= asked <= LONGEST_S:
        raise InvalidOption(
            f"--interval {asked:g} is not possible.",
            hint=f"Give seconds from {SHORTEST_S:g} to {LONGEST_S:g}.",
        )
    return asked


def _watch(gpus: GpuList, interval: float, *, redraw: bool) -> None:
    drawn = 0
    while True:
        if redraw:
            drawn = _draw(gpus, drawn)
        else:
            print("\n".join(view(gpus)), flush=True)
        time.sleep(interval)
        gpus = read_gpus()


def _draw(gpus: GpuList, drawn: int) -> int:
    """Write over the lines drawn before; how many there are now."""
    size = shutil.get_terminal_size()
    # A line that wraps, or more lines than the terminal has, could not be gone back over.
    lines = [line[: size.columns - 1] for line in view(gpus, size.columns - 1)][: size.lines - 1]
    back = f"\x1b[{drawn}A" if drawn else ""
    styled = (f"{BOLD}{line}{PLAIN}" if line.startswith("[") else line for line in lines)
    text = "".join(f"{line}{CLEAR_LINE}\n" for line in styled)
    sys.stdout.write(f"{back}\r{text}{CLEAR_BELOW}")
    sys.stdout.flush()
    return len(lines)


def _card(card: GpuDevice, names: int) -> str:
    name = f"[{card.index}] {one_line(card.name):{names}}"
    if card.problem:
        return f"{name} | {card.problem}"
    heat = _number(card.temperature_c, 3, "°C")
    busy = _number(card.utilization, 3, " %")
    power = f"{_number(card.power_w, 3)} / {_number(card.power_limit_w, 3, ' W')}"
    return f"{name} | {heat}, {busy}, {power} | {_memory(card)}"


def _memory(device: GpuDevice | MigDevice) -> str:
    if not device.total_mib:
        return "memory unknown"
    filled = round(BAR * (1 - device.free_mib / device.total_mib))
    bar = "█" * filled + "░" * (BAR - filled)
    return f"{device.used_mib:>7,} / {device.total_mib:>7,} MiB {bar}"


def _processes(processes: tuple[GpuProcess, ...], width: int) -> list[str]:
    told = "  ".join(
        f"{one_line(it.name).replace(' ', '_') or '?'}/{it.pid}({_number(it.used_mib, 0, ' MiB')})"
        # A line may end between two processes, not within one.
        .replace(" ", "\xa0")
        for it in processes
    )
    lines = textwrap.wrap(
        told,
        max(20, width - 6) if width else 1 << 20,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [f"      {line}".replace("\xa0", " ") for line in lines]


def _number(value: float | None, digits: int, unit: str = "") -> str:
    text = "?" if value is None else f"{value:,.0f}"
    return f"{text:>{digits}}{unit}"


def _nothing(gpus: GpuList) -> str:
    why = gpus.problem or "The driver shows none."
    return f"No GPU: {one_line(why)} What to do: whisper-for-subs doctor"
