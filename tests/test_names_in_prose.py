"""What docstrings, comments and pages name exists: files, tests, modules and what is in them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.events import WORKER_INCIDENTS

FOLDERS = ("access", "api", "bench", "cli", "core", "decoding", "doctor", "docs", "finetuning",
           "gpu", "jobs", "media", "model_store", "scripts", "subtitles", "telemetry", "tests",
           "ui", "workers")  # fmt: skip


FILE = re.compile(rf"(?<![\w/.-])((?:{'|'.join(FOLDERS)})/[\w./-]+\.(?:py|md|sh))(?:::(\w+))?")
DOTTED = re.compile(r"(?:``|`|:(?:func|class|meth|mod|data|attr):`)~?([a-z_]\w*\.[\w.]*\w)(?:\(|`)")


@pytest.fixture(scope="module")
def texts(root: Path) -> dict[Path, str]:
    """Every source file and page."""
    found = [*root.glob("*.py"), *root.glob("*.md")]
    for folder in FOLDERS:
        found += [*(root / folder).rglob("*.py"), *(root / folder).glob("*.md")]
    return {path: path.read_text(encoding="utf-8") for path in found}


def test_every_file_and_test_that_is_named_exists(root: Path, texts: dict[Path, str]) -> None:
    named = [(path, found) for path, text in texts.items() for found in FILE.finditer(text)]
    assert len(named) > 100
    for path, found in named:
        file, test = root / found[1], found[2]
        assert file.exists(), f"{path.relative_to(root)} names {found[1]}"
        if test:
            code = file.read_text(encoding="utf-8")
            assert re.search(rf"(def|class) {test}\b", code), f"{path.name} names {found[0]}"


def test_every_module_and_attribute_that_is_named_exists(
    root: Path, texts: dict[Path, str]
) -> None:
    modules: dict[str, set[str]] = {}
    for path, text in texts.items():
        if path.suffix == ".py":
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            modules[name.removesuffix(".__init__")] = _names(text)
    first = {name.partition(".")[0] for name in modules}
    for path, text in texts.items():
        for found in DOTTED.finditer(text):
            parts = found[1].split(".")
            if parts[0] not in first or parts[-1] in ("py", "md", "json", "txt"):
                continue
            sizes = range(len(parts), 0, -1)
            size = next((n for n in sizes if ".".join(parts[:n]) in modules), None)
            what = f"{path.relative_to(root)} names {found[1]}"
            assert size, what
            assert set(parts[size:]) <= modules[".".join(parts[:size])], what


def _names(code: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name) | ast.alias(asname=str(name)) | ast.alias(name=name):
                found.add(name)
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                found.add(name)
    return found


def test_every_kind_of_incident_is_listed(texts: dict[Path, str]) -> None:
    told = {kind for path, text in texts.items() for kind in _kinds(path, text)}
    assert told == {*WORKER_INCIDENTS, "reading_stopped"}


def _kinds(path: Path, text: str) -> Iterator[str]:
    if path.suffix != ".py" or "tests" in path.parts:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("pool.tell", "self.tell", "_Retry", "Incident")
        ):
            for part in ast.walk(node.args[0]) if node.args else ():
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value
