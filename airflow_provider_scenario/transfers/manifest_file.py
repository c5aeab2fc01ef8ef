"""The manifest's file: gone while this task changes files beside it, and written last."""

from __future__ import annotations

import threading

from airflow_provider_scenario.transfers.folder import Folder
from airflow_provider_scenario.transfers.manifest import Manifest


class ManifestFile:
    """Where the manifest of one task's files stands, if they shall have one.

    :param folder: The folder that the files are saved in.
    :param name: Its name in there; ``None`` for no manifest.
    """

    def __init__(self, folder: Folder, name: str | None) -> None:
        self.name = name
        self.uri = None if name is None else folder.uri(name)
        self._folder = folder
        self._stale = name is not None
        self._lock = threading.Lock()

    def withdraw(self) -> None:
        """Remove the manifest of an earlier time: a file is about to change. Only the first call does anything.

        :raises ScenarioError: if it can't be removed.
        """
        with self._lock:
            if self._stale and self.name is not None:
                self._folder.remove(self.name)
            self._stale = False

    def write(self, manifest: Manifest) -> None:
        """Write it, all or nothing, now that every file is there.

        :raises ScenarioError: if it can't be written.
        """
        if self.name is not None:
            content = manifest.content()
            self._folder.store(self.name, lambda file: file.write(content))
