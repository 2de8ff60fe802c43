"""Every error tells what and what to do, and survives the way out of another process."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
import re

import pytest

from core import errors
from core.errors import Cancelled, InvalidOption, SubtitleError

CLASSES = [
    value
    for _, value in inspect.getmembers(errors, inspect.isclass)
    if issubclass(value, SubtitleError)
]
NO_DEFAULT_HINT = {"SubtitleError", "InputError", "ModelError", "CapacityError", "WorkerError"}
"""Too general for one; ``InvalidOption`` and ``ModelError`` get theirs where they are raised."""


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_pickling(kind: type[SubtitleError]) -> None:
    for error in (kind("what happened"), kind("what happened", hint="what to do")):
        for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(twin) is kind
            assert (twin.message, twin.hint) == (error.message, error.hint)
            assert str(twin) == "what happened"
            assert twin.args == error.args


def _raise(kind: type[SubtitleError]) -> None:
    raise kind("what happened", hint="what to do")


def test_errors_cross_a_process_boundary_as_they_are() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for kind in CLASSES:
            with pytest.raises(kind, match="what happened") as caught:
                pool.apply(_raise, (kind,))
            assert type(caught.value) is kind
            assert caught.value.hint == "what to do"


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ([│├└─ ]*)([A-Z]\w+)", line)
        if match:
            depth = len(match[1]) // 4
            path = [*path[:depth], match[2]]
            drawn[match[2]] = path[-2] if depth else "Exception"
    assert drawn == {kind.__name__: kind.__base__.__name__ for kind in CLASSES if kind.__base__}


def test_every_cause_a_person_can_mend_has_a_hint() -> None:
    bare = {kind.__name__ for kind in CLASSES if not kind.default_hint}
    assert bare <= NO_DEFAULT_HINT | {"InvalidOption", "Cancelled"}


def test_explanation_is_one_line_of_message_and_hint() -> None:
    assert InvalidOption("No such track.", hint="Choose 0.").explain() == "No such track. Choose 0."
    assert InvalidOption("No such track.").explain() == "No such track."
    assert Cancelled().explain() == "Cancelled."


def test_an_empty_hint_replaces_the_default() -> None:
    assert errors.FileMissing("gone").hint
    assert errors.FileMissing("gone", hint="").hint == ""


def test_no_error_knows_http() -> None:
    assert not [kind for kind in CLASSES if re.search(r"status|http", " ".join(vars(kind)))]
