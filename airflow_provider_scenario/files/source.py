"""A file that is to go to Scenario: found, examined, and read piece by piece."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_scenario.exceptions import ScenarioFileError
from airflow_provider_scenario.files.location import is_local, object_path, reading_error
from airflow_provider_scenario.media.examine import Media, examine
from airflow_provider_scenario.media.integrity import Truncation, find_truncation

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

_BLOCK = 1 << 20
_EXAMINED = 1 << 16
"""Bytes that are read at once while a file is examined: more would fetch most of a large object twice."""


@dataclass(frozen=True)
class SourceFile:
    """A file that Scenario can take, of one byte or more."""

    path: ObjectStoragePath
    name: str
    size: int
    media: Media

    def pieces(self, size: int) -> Iterator[bytes]:
        """Read the file from its beginning, in pieces of ``size`` bytes but for the last."""
        left = self.size
        try:
            with self.path.fs.open(self.path.path, "rb") as file:
                while left:
                    piece = file.read(min(size, left))
                    if len(piece) < min(size, left):
                        break
                    left -= len(piece)
                    yield piece
                grown = bool(file.read(1))
        except Exception as error:
            raise reading_error(error, str(self.path)) from error
        if left or grown:
            raise ScenarioFileError(
                f"{self.path} changed while it was read: it no longer has {self.size} bytes. Nothing was kept at "
                "Scenario. Let this task start when the file is complete."
            )

    def sha256(self) -> str:
        """Read the whole file and return its digest in hexadecimal."""
        digest = hashlib.sha256()
        for piece in self.pieces(_BLOCK):
            digest.update(piece)
        return digest.hexdigest()


def find_source(given: str | ObjectStoragePath, argument: str = "source") -> SourceFile:
    """Return the file an author means, sure that it is there and of a type Scenario takes."""
    path = object_path(given, argument, is_source=True)
    _refuse_link(path)
    size = _size(path)
    if size == 0:
        raise ScenarioFileError(f"{path} is empty (0 bytes). Nothing was uploaded. Check what writes it.")
    try:
        with path.fs.open(path.path, "rb", block_size=_EXAMINED) as file:
            missing = find_truncation(file, size)
            media = examine(file, size) if missing is None else None
    except Exception as error:
        raise reading_error(error, str(path)) from error
    if missing is not None:
        raise ScenarioFileError(_cut_short(path, size, missing))
    if media is None:
        raise ScenarioFileError(
            f"{path} is no video, image or audio file that Scenario takes, by what its bytes say; its name does not "
            "count. Nothing was uploaded."
        )
    return SourceFile(path, path.name, size, media)


def _refuse_link(path: ObjectStoragePath) -> None:
    """Refuse a link whose file is outside the link's folder: anybody who may write there could name any file."""
    if not is_local(path):
        return
    folder = os.path.realpath(os.path.dirname(path.path))
    target = os.path.realpath(path.path)
    if not Path(target).is_relative_to(folder):
        raise ScenarioFileError(
            f"{path} is a link to a file outside its folder. Nothing was uploaded. Name the file itself."
        )


def _cut_short(path: ObjectStoragePath, size: int, missing: Truncation) -> str:
    of = f"{size:,} bytes, and its end is missing"
    if missing.expected is not None:
        of = f"{size:,} of {'at least ' if missing.at_least else ''}{missing.expected:,} bytes"
    return (
        f"{path} is cut short: {of}. Nothing was uploaded or charged. Is it still being copied? Let this task start "
        "when the file is complete, or copy it anew."
    )


def _size(path: ObjectStoragePath) -> int:
    try:
        if not is_local(path):
            path.fs.invalidate_cache()
        facts = path.fs.info(path.path)
    except Exception as error:
        raise reading_error(error, str(path)) from error
    kind = facts.get("type")
    if kind not in ("file", "link"):
        what = "a folder, not a file" if kind == "directory" else "no regular file"
        raise ScenarioFileError(f"{path} is {what}. Nothing was uploaded. Name one file.")
    return int(facts.get("size") or 0)
