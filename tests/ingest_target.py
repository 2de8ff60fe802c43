"""What ``test_ingest.py`` runs in the isolated process; a module of its own, to import little."""

from __future__ import annotations

import sys

from ingest import ingest
from media.process import Send


def ingest_and_list_modules(send: Send, *args: object) -> set[str]:
    ingest(send, *args)  # type: ignore[arg-type]
    return {name.partition(".")[0] for name in sys.modules}
