"""Whether the service takes one more job: the queue, a client's share and the disk decide, before
anything is stored, so that a refused job leaves nothing behind."""

from __future__ import annotations

import shutil

from core.errors import ClientLimit, DiskFull, QueueFull
from core.settings import Settings
from jobs.request import LOCAL, nearest

MIB = 1024 * 1024


class Admission:
    """The limits of the settings, applied to numbers the service knows."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self, *, client: str, jobs: int, of_client: int) -> None:
        """``jobs``: not ended ones of this service; ``of_client``: those of this client.

        Raises:
            ClientLimit: the client has its share already.
            QueueFull: the service takes no more jobs now.
            DiskFull: too little space for any job.
        """
        settings = self._settings
        if client != LOCAL and 0 < settings.max_client_jobs <= of_client:
            raise ClientLimit(
                f"{of_client} of your jobs are already running or waiting, and that is the limit."
            )
        if jobs >= settings.max_running_jobs + settings.max_waiting_jobs:
            raise QueueFull(f"The queue is full: {jobs} jobs are running or waiting.")
        self.check_disk()

    def check_disk(self, more_bytes: int = 0) -> None:
        """Raises DiskFull where so many bytes do not fit and leave what is to stay free."""
        folder = self._settings.data_dir
        free = shutil.disk_usage(nearest(folder.resolve())).free
        needed = self._settings.min_free_mib * MIB + more_bytes
        if free < needed:
            raise DiskFull(
                f"Too little disk space: {free // MIB} MiB are free in {folder.name},"
                f" {-(-needed // MIB)} MiB are needed."
            )
