"""Damaged media through the decoder process, as long as you like.

    python -m bench.fuzz --inputs 20000 --seed 7

Every input must give a result or a typed error; what crashes, hangs or raises anything else is
written to ``--keep`` and listed. Copy what was fixed to ``tests/media/seeds``, which the tests
replay.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.media.fuzzing import SLOW_S, Death, Tally, Tried, make_seeds, read_seeds, run_fuzz
from tests.media.fuzzing import write_input as keep_input

OUT = Path(__file__).with_name("out") / "fuzz"
TELL_EVERY = 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=OUT, help="where bad inputs are written")
    args = parser.parse_args()
    started = time.monotonic()
    done = 0

    def tell(item: Tried | Death) -> None:
        nonlocal done
        done += 1
        if done % TELL_EVERY == 0:
            _say(f"{done} of {args.inputs} in {time.monotonic() - started:.0f} s")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "seeds").mkdir()
        seeds = make_seeds(folder / "seeds")
        tally = run_fuzz(seeds, args.seed, args.inputs, folder, processes=args.processes, tell=tell)
        kept = _keep(tally, seeds, args.seed, args.keep)
    _report(tally, time.monotonic() - started, kept)
    return 1 if tally.bugs else 0


def _keep(tally: Tally, seeds: Path, seed: int, folder: Path) -> dict[int, Path]:
    bad = {tried.number for tried in (*tally.bugs, *tally.slow)}
    bad |= {death.number for death in tally.deaths}
    if not bad:
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    files = read_seeds(seeds)
    return {number: keep_input(files, seed, number, folder) for number in sorted(bad)}


def _report(tally: Tally, seconds: float, kept: dict[int, Path]) -> None:
    inputs = len(tally.tried) + len(tally.deaths)
    _say(f"{inputs} inputs in {seconds:.0f} s: {inputs / seconds:.0f} a second")
    for outcome, count in tally.outcomes().items():
        _say(f"  {count:7} {outcome}")
    _say(f"  {len(tally.deaths):7} processes lost, {len(tally.slow)} inputs over {SLOW_S:g} s")
    for death in tally.deaths:
        _say(f"{kept[death.number]}: {death.error}")
    for tried in tally.slow:
        _say(f"{kept[tried.number]}: {tried.seconds:.1f} s, {tried.outcome}")
    for tried in tally.bugs:
        _say(f"{kept[tried.number]}: not a typed error\n{tried.bug}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
