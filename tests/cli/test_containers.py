"""One recording in every container and codec gives the same words from the command line."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from tests.cli.conftest import Cli
from tests.media.containers import RECIPES, SPEECH, make_container


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def true_words() -> list[str]:
    with SPEECH.with_name("transcripts.tsv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    return next(words(row[-1]) for row in rows if row[0].startswith(SPEECH.stem))


def test_every_container_gives_the_same_text(tiny_en: Path, tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "containers"
    folder.mkdir()
    files = [make_container(SPEECH, folder / f"speech-{n}.{end}") for n, end in enumerate(RECIPES)]

    done = cli(
        *("transcribe", *files, "--formats", "txt", "--output-dir", tmp_path / "out"),
        WHISPER_BEAM_SIZE="5",
    )

    assert done.returncode == 0, done.stderr
    heard = {
        file.name: words((tmp_path / "out" / f"{file.stem}.txt").read_text()) for file in files
    }
    assert len(heard) == len(RECIPES)
    assert {name: text for name, text in heard.items() if text != true_words()} == {}
