"""The command line as it is, but for its engine, which only says which audio it got.

    python -m bench.scripted_command transcribe …

For what is around the engine: thousands of recordings, kills, memory.
"""

from __future__ import annotations

import sys
from functools import partial
from unittest.mock import patch

from bench.scripted_engines import LISTENING_ENGINE
from cli.main import main
from workers.pool import WorkerPool

if __name__ == "__main__":
    with patch("parallel_transcriber.WorkerPool", partial(WorkerPool, engine=LISTENING_ENGINE)):
        sys.exit(main())
