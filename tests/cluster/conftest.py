"""Pools as tests/workers has them."""

from tests.workers.conftest import bench

__all__ = ["bench"]
