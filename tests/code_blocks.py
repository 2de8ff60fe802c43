"""Code blocks of the documentation, which tests run as they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class CodeBlock:
    page: Path
    line: int
    """Of its first line of code."""
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def code_blocks(page: Path, *languages: str) -> list[CodeBlock]:
    """The page's blocks in these languages, in order; all blocks that name one where none is
    given."""
    text = page.read_text(encoding="utf-8")
    found = [
        CodeBlock(page, text.count("\n", 0, block.start()) + 2, block[1], block[2])
        for block in _BLOCK.finditer(text)
    ]
    return [block for block in found if not languages or block.language in languages]
