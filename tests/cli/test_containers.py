"""One recording in every container and codec gives the same words from the command line."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Cli
from tests.media.containers import RECIPES, SPEECH, make_container, recipe_for
from tests.spoken import MAX_WER, transcripts, word_errors


def test_every_container_gives_the_same_text(tiny_en: Path, tmp_path: Path, cli: Cli) -> None:
    """As the recording they were made of does here: letter by letter where the samples are the
    same (these come from the cache), with a word or two of difference where the codec changed
    them."""
    folder = tmp_path / "containers"
    folder.mkdir()
    files = [make_container(SPEECH, folder / f"speech-{n}.{end}") for n, end in enumerate(RECIPES)]

    done = cli(
        *("transcribe", SPEECH, *files, "--formats", "txt", "--output-dir", tmp_path / "out"),
        WHISPER_BEAM_SIZE="5",
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("were done before") >= sum(recipe.exact for recipe in RECIPES.values())
    heard = {file: (tmp_path / "out" / f"{file.stem}.txt").read_text() for file in (SPEECH, *files)}
    assert len(heard) == 1 + len(RECIPES)
    reference = heard[SPEECH]
    assert word_errors(dict(transcripts())[SPEECH], reference).wer <= MAX_WER
    exact = [file for file in files if recipe_for(file).exact]
    assert {file.name: heard[file] for file in exact if heard[file] != reference} == {}
    worst = {file.name: word_errors(reference, heard[file]).wer for file in files}
    assert {name: wer for name, wer in worst.items() if wer > MAX_WER} == {}
