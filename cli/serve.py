"""``serve``: the web page."""

from __future__ import annotations

import argparse

from cli.options import build_settings
from core.logs import setup_logging


def serve(args: argparse.Namespace) -> int:
    """Run the page until it is stopped."""
    settings = build_settings({"host": args.host, "port": args.port})
    setup_logging(settings.log_level, log_format=settings.log_format)
    # Here and not above: the page's libraries take seconds, and other commands need none.
    import app

    app.serve(settings)
    return 0
