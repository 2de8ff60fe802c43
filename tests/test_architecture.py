"""The architecture, held by ``ast``: who may import whom, who reads the environment, sizes.

The tables here are the ones of docs/architecture.md. They look at what stands in the working
tree, so a new package is judged from its first file on.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

MAY_IMPORT: dict[str, set[str]] = {
    "app": {"ui", "api", "jobs", "access", "core"},
    "ui": {"jobs", "doctor", "subtitles", "model_store", "finetuning", "gpu", "access", "core"},
    "api": {"jobs", "subtitles", "model_store", "telemetry", "access", "core"},
    "cli": {
        "cluster",
        "parallel_transcriber",
        "transcription_run",
        "jobs",
        "doctor",
        "model_store",
        "finetuning",
        "gpu",
        "access",
        "core",
        "app",
    },
    "jobs": {
        "endpoints",
        "parallel_transcriber",
        "transcription_run",
        "workers",
        "decoding",
        "media",
        "subtitles",
        "telemetry",
        "gpu",
        "access",
        "core",
    },
    "doctor": {"parallel_transcriber", "workers", "model_store", "gpu", "access", "core"},
    "parallel_transcriber": {
        "cluster",
        "transcription_run",
        "ingest",
        "workers",
        "media",
        "model_store",
        "gpu",
        "core",
    },
    "transcription_run": {"ingest", "media", "core"},
    "ingest": {"media", "vad", "core"},
    "workers": {"gpu", "core"},
    "cluster": {"workers", "model_store", "core"},
    "endpoints": {"decoding", "core"},
    "transcriber": {
        "transcription_run",
        "ingest",
        "decoding",
        "media",
        "model_store",
        "gpu",
        "core",
    },
    "decoding": {"gpu", "core"},
    "vad": {"core"},
    "media": {"core"},
    "subtitles": {"core"},
    "finetuning": {"gpu", "core"},
    "model_store": {"gpu", "core"},
    "telemetry": {"gpu", "core"},
    "gpu": {"core"},
    "access": {"core"},
    "core": set(),
}
"""Packages and modules of the app and what each may import of ours; each may import itself."""

DOCUMENTED = {Path("core/gpu_manager.py"): "gpu"}
"""The owner's documents import this name from there."""

FREE = {"bench", "scripts", "tests"}
"""Not part of the app: they may import anything, print apart."""

ONLY_SERVE = {"cli": "app"}
"""Imports allowed only inside a function: a command that does not serve pays nothing for it."""

TOO_HEAVY_FOR_WORKERS = ("gradio", "fastapi", "torch")


@cache
def sources() -> tuple[Path, ...]:
    """Every Python file of the project, relative to its folder."""
    tops = [*MAY_IMPORT, *FREE]
    found = [ROOT / f"{top}.py" for top in tops if (ROOT / f"{top}.py").is_file()]
    for top in tops:
        found += (ROOT / top).rglob("*.py")
    return tuple(sorted(path.relative_to(ROOT) for path in found))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))


def package(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def app_sources() -> list[Path]:
    return [path for path in sources() if package(path) not in FREE]


def imports(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Line, first name and whether it runs at import time, of every import in a file."""
    module = tree(path)
    inside = inside_functions(module)
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""] if node.level == 0 else [package(path)]
        else:
            continue
        for name in names:
            yield node.lineno, name.split(".")[0], id(node) not in inside


def inside_functions(module: ast.Module) -> set[int]:
    """Ids of the nodes in functions: they do not run at import time."""
    return {
        id(node)
        for function in ast.walk(module)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }


def dotted(node: ast.AST) -> str:
    """``os.environ`` for the expression of that name, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    return ""


def test_every_folder_and_file_belongs_to_a_package() -> None:
    tops = {path.name for path in ROOT.glob("*.py")}
    tops |= {path.parent.name for path in ROOT.glob("*/__init__.py")}
    unknown = {name for name in tops if name.removesuffix(".py") not in {*MAY_IMPORT, *FREE}}
    assert not unknown, "add the package to the table here and in docs/architecture.md"


def test_no_two_classes_have_one_name() -> None:
    found: dict[str, list[str]] = {}
    for path in app_sources():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name.strip("_").casefold(), []).append(str(path))
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_imports_go_in_one_direction(name: str) -> None:
    allowed = MAY_IMPORT[name] | {name}
    wrong = [
        f"{path}:{line} imports {target}"
        for path in app_sources()
        if package(path) == name
        for line, target, _ in imports(path)
        if target in {*MAY_IMPORT, *FREE} and target not in allowed
        if DOCUMENTED.get(path) != target
    ]
    assert wrong == []


def test_no_modules_import_one_another_in_a_circle() -> None:
    """Also inside a package, and in bench, scripts and tests."""
    names = {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in sources()
    }
    uses = {name: set(modules_used(path)) & {*names} - {name} for name, path in names.items()}
    while free := [name for name, used in uses.items() if not used & {*uses}]:
        for name in free:
            del uses[name]
    assert {name: used & {*uses} for name, used in uses.items()} == {}


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def modules_used(path: Path) -> Iterator[str]:
    """Full names of the modules a file imports at import time or for its types."""
    inside = inside_functions(tree(path))
    for node in ast.walk(tree(path)):
        if id(node) in inside:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_command_line_imports_the_web_app_only_to_serve() -> None:
    wrong = [
        f"{path}:{line}"
        for path in app_sources()
        for line, target, at_import in imports(path)
        if at_import and ONLY_SERVE.get(package(path)) == target
    ]
    assert wrong == []


def environment_reads(path: Path) -> Iterator[int]:
    """Lines that read the environment. Setting or removing a variable for a child is a write."""
    module = tree(path)
    writes = {
        id(node.value)
        for node in ast.walk(module)
        if (isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del))
        or (isinstance(node, ast.Attribute) and node.attr == "update")
    }
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            if {alias.name for alias in node.names} & {"environ", "environb", "getenv", "getenvb"}:
                yield node.lineno
        elif isinstance(node, ast.expr):
            name = dotted(node)
            reads = name in ("os.getenv", "os.getenvb", "os.path.expandvars")
            if reads or (name in ("os.environ", "os.environb") and id(node) not in writes):
                yield node.lineno


def test_the_environment_is_read_in_the_settings_alone() -> None:
    wrong = [
        f"{path}:{line}"
        for path in app_sources()
        if path != Path("core/settings.py")
        for line in environment_reads(path)
    ]
    assert wrong == []


def test_print_stands_in_the_command_line_alone() -> None:
    wrong = [
        f"{path}:{node.lineno}"
        for path in app_sources()
        if package(path) != "cli"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and dotted(node.func) in ("print", "pprint.pprint")
    ]
    assert wrong == []


def test_files_are_short_enough_to_read() -> None:
    sizes = {str(p): len((ROOT / p).read_text(encoding="utf-8").splitlines()) for p in sources()}
    assert {name: size for name, size in sizes.items() if size > MAX_FILE_LINES} == {}


def test_functions_fit_on_a_screen() -> None:
    long = {
        f"{path}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    }
    assert long == {}


def test_every_file_says_why_it_exists() -> None:
    silent = [
        str(path) for path in app_sources() if tree(path).body and not ast.get_docstring(tree(path))
    ]
    assert silent == []


def test_a_worker_process_loads_nothing_heavy() -> None:
    modules = [
        module_name(path)
        for path in app_sources()
        if package(path) in ("workers", "decoding", "endpoints")
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"loaded = [name for name in {TOO_HEAVY_FOR_WORKERS!r} if name in sys.modules]\n"
        "sys.exit('loads ' + ', '.join(loaded) if loaded else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
