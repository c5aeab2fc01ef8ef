"""The manifest: what was saved and where it comes from, as JSON beside the files.

A folder that has its manifest is complete: it is removed before a file beside it changes, and written last. While it is
away, a list of what is saved already stands in its place, so that a retry need not fetch that again.
"""

from __future__ import annotations

import datetime
import json
import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.api.values import is_no_value, units_or_none
from airflow_provider_scenario.exceptions import (
    ScenarioConfigurationError,
    ScenarioError,
    ScenarioFileError,
    redact_whole,
)
from airflow_provider_scenario.files.naming import common_folder, is_unwritable, template_fields_of
from airflow_provider_scenario.files.storage import Folder

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider_scenario.api.client import ScenarioClient

VERSION = 1
"""Grows if a key goes or comes to mean something else; new keys may come without."""

CONTENT_TYPE = "application/json"

LARGEST = 64 << 20
"""Bytes of a manifest that is read back at most."""

NOTE_INTERVAL = 5.0
"""Seconds between two writings of the list of what is saved already."""

PARALLEL = 4
"""Jobs that are read at once."""

_BEGINNING = b'{\n  "version": '
"""How a manifest of ours begins."""

_DEEPEST = 50
"""Levels of a job's inputs that are listed."""


@dataclass(frozen=True)
class SavedFile:
    """One file that came from Scenario and stands complete in its folder.

    :param uri: Where it is, as ``ObjectStoragePath`` takes it.
    :param sha256: Its digest in hexadecimal.
    :param mime_type: Its type, as Scenario says.
    :param width: Pixels, for images and videos.
    :param height: Pixels, for images and videos.
    :param duration: Seconds, for videos and audio.
    :param frame_rate: Frames a second, for videos.
    :param kind: ``video``, ``image``, ``audio``, ...
    """

    uri: str
    asset_id: str
    sha256: str
    bytes: int
    mime_type: str
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    frame_rate: float | None = None
    kind: str = ""
    job_id: str | None = None

    def facts(self) -> dict[str, Any]:
        """Return the facts as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Manifest:
    """What one task saved.

    :param files: The files, in order; one at least.
    :param jobs: The jobs they come from, each once. What isn't known of a job is ``None``.
    :param uri: Where the manifest itself stands; ``None`` if it is kept in the XCom only.
    """

    folder: str
    files: Sequence[SavedFile]
    jobs: Sequence[Job] = ()
    uri: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON: ``version``, ``uri``, ``files`` and ``jobs``, tied together by ``job_id``."""
        return {
            "version": VERSION,
            "uri": self.uri,
            "files": [file.facts() for file in self.files],
            "jobs": [facts_of(job) for job in self.jobs],
        }

    def content(self) -> bytes:
        """Return it as the bytes of a file."""
        return _content(self.document())

    def event_extra(self) -> dict[str, Any]:
        """Return it flat, as the extra of an Airflow asset's event, without what isn't known."""
        extra = self.files[0].facts() if len(self.files) == 1 else self._several()
        extra = {**extra, "files": len(self.files), "manifest": self.uri}
        if len(self.jobs) == 1 and all(file.job_id == self.jobs[0].id for file in self.files):
            extra |= facts_of(self.jobs[0])
        return {key: value for key, value in extra.items() if value is not None}

    def of_each_file(self) -> list[Manifest]:
        """Return a manifest for each file alone."""
        return [
            Manifest(self.folder, [file], [job for job in self.jobs if job.id == file.job_id], self.uri)
            for file in self.files
        ]

    def _several(self) -> dict[str, Any]:
        return {
            "uri": self.folder,
            "uris": [file.uri for file in self.files],
            "asset_ids": [file.asset_id for file in self.files],
            "bytes": sum(file.bytes for file in self.files),
        }


def manifest_name(wanted: str | bool, template: str, map_index: int | None) -> str | None:
    """Return how the manifest is called, ``None`` if none is wanted."""
    if wanted in ("True", "False"):  # what templating makes of one
        wanted = wanted == "True"
    if isinstance(wanted, bool):
        # Unless each job has a folder of its own, the instances of a mapped task share one, and none must replace the
        # manifest of another.
        shared = "job_id" not in template_fields_of(common_folder(template))
        which = f"-{map_index}" if shared and map_index is not None and map_index >= 0 else ""
        return f"manifest{which}.json" if wanted else None
    if is_no_value(wanted) or wanted in (".", "..") or any(sign in "/\\" or is_unwritable(sign) for sign in wanted):
        raise ScenarioConfigurationError(
            f"manifest is {wanted!r}: give a plain name such as 'tall.json', True for manifest.json, or False for none."
        )
    return wanted


def facts_of(job: Job) -> dict[str, Any]:
    """Return what a manifest says of a job, as JSON: no URL is in it."""
    inputs = {name: value for name, value in job.inputs.items() if name != "modelId"}
    return {
        "job_id": job.id,
        "model_id": None if job.model_id is None else _writable(job.model_id),
        "inputs": _plain(inputs) or None,
        "seed": job.seed,
        "cost": units_or_none(job.cost),
        "created_at": _text(job.created_at),
        "updated_at": _text(job.updated_at),
    }


def _text(time: datetime.datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: Any, depth: int = 0) -> Any:
    """Return an input as any database and file takes it, without what a signed or inline URL in it would give away."""
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, str):
        if value.startswith("data:"):
            return "data:…"
        return _writable(redact_whole(value) if "://" in value else value)
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_writable(str(name)): _plain(item, depth + 1) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _writable(text: str) -> str:
    r"""Escape what UTF-8 and databases can't hold: half a surrogate pair becomes ``\ud83d``, and NUL ``\x00``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def _content(document: Mapping[str, Any]) -> bytes:
    # A surrogate that got past _writable, such as one in a file's name, stands as "?" rather than stop the task.
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def jobs_of(files: Sequence[SavedFile], known: Job | None, client: ScenarioClient, log: Logger) -> list[Job]:
    """Return the jobs that files come from, each once, in the order of the files."""

    def read(job_id: str) -> Job:
        if known is not None and known.id == job_id:
            return known
        try:
            return client.send(calls.get_job(job_id))
        except ScenarioError as error:
            # A job that can't be read is no reason to lose files that are saved: then only its id is known.
            log.warning("The manifest lacks what is known of job %s: %s", job_id, error)
            return Job(job_id, JobStatus("unknown"))

    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="scenario-job") as pool:
        return list(pool.map(read, dict.fromkeys(file.job_id for file in files if file.job_id)))


class ManifestFile:
    """Where the manifest of one task's files stands, if they shall have one, and what it holds."""

    def __init__(self, folder: Folder, name: str | None, log: Logger) -> None:
        self.name = name
        self.uri = None if name is None else folder.uri(name)
        self.reserved: tuple[str, ...] = () if name is None else (name, f"{name}.unfinished")
        self._folder = folder
        self._log = log
        self._lock = threading.Lock()
        self._is_removed = False
        self._noted_at = float("-inf")  # The first file is noted at once.
        self._saved: list[SavedFile] = []
        # A file of this name that is no manifest is refused here: it would be lost.
        self._found = [_read_own(folder, place) for place in self.reserved]
        self._recorded = _recorded(self._found)

    def digest_of(self, uri: str, asset_id: str) -> tuple[int, str] | None:
        """Return the size and digest that a manifest of ours holds for this asset's file at ``uri``, else ``None``."""
        return self._recorded.get((uri, asset_id))

    def remove(self) -> None:
        """Remove the manifest of an earlier time: a file is about to change. Only the first call does anything."""
        with self._lock:
            if self._is_removed:
                return
            self._folder.check()
            if self.name is not None:
                # What it holds must not be lost to a task that is killed. And a storage that takes no files
                # says so here, before any is fetched.
                self._store_list()
                self._folder.remove(self.name)
            self._is_removed = True

    def note(self, file: SavedFile) -> None:
        """Keep in mind that a file is saved, and now and then write the list of those that are."""
        with self._lock:
            self._saved.append(file)
            if self._is_removed and time.monotonic() - self._noted_at > NOTE_INTERVAL:
                self._write_list()

    def keep_list(self) -> None:
        """Write the list of what is saved, for the next try: this one failed."""
        with self._lock:
            if self._is_removed and (self._saved or self._recorded):
                self._write_list()
            elif self._is_removed:
                self._remove_list()

    def write(self, manifest: Manifest) -> None:
        """Write it, all or nothing, now that every file is there."""
        if self.name is None:
            return
        content = manifest.content()
        if not self._is_removed and content == self._found[0]:
            return
        try:
            self._folder.store(self.name, lambda file: file.write(content), CONTENT_TYPE)
        except ScenarioFileError as error:
            if self._is_removed or not _same_files(self._found[0], content):
                raise
            self._log.info("%s stays as it is, with the same files: %s", self.uri, error)
            return
        if self._is_removed or self._found[1] is not None:
            self._remove_list()

    def _remove_list(self) -> None:
        """Remove the list: where that is not allowed it stays, and is still true."""
        if self.name is None:
            return
        try:
            self._folder.remove(self.reserved[1])
        except ScenarioError as error:
            self._log.warning("The list of what was saved stays beside the manifest: %s", error)

    def _write_list(self) -> None:
        """Write what is saved. A failure costs no more than a file fetched twice."""
        self._noted_at = time.monotonic()
        try:
            self._store_list()
        except ScenarioError as error:
            self._log.warning("The list of what is saved could not be written: %s", error)

    def _store_list(self) -> None:
        """Write what is saved, also by an earlier try."""
        if self.name is None:
            return
        files = {(uri, asset_id): _entry(uri, asset_id, *held) for (uri, asset_id), held in self._recorded.items()}
        files |= {(file.uri, file.asset_id): file.facts() for file in self._saved}
        content = _content({"version": VERSION, "uri": None, "files": list(files.values()), "jobs": []})
        self._folder.store(self.reserved[1], lambda file: file.write(content), CONTENT_TYPE)


def _entry(uri: str, asset_id: str, size: int, sha256: str) -> dict[str, Any]:
    return {"uri": uri, "asset_id": asset_id, "bytes": size, "sha256": sha256}


def _recorded(contents: Sequence[bytes | None]) -> dict[tuple[str, str], tuple[int, str]]:
    """Return the size and digest of each file that manifests of ours hold, by where it is and its asset."""
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for document in map(_parsed, contents):
        for file in document.get("files") or ():
            match file:
                case {"uri": str(uri), "asset_id": str(asset_id), "bytes": int(size), "sha256": str(sha256)}:
                    found[uri, asset_id] = (size, sha256)
    return found


def _parsed(content: bytes | None) -> Mapping[str, Any]:
    """Return a manifest's document; an empty one for what is no manifest of ours."""
    try:
        document = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {}
    is_ours = isinstance(document, dict) and document.get("version") == VERSION
    return document if is_ours and isinstance(document.get("files"), list) else {}


def _read_own(folder: Folder, place: str) -> bytes | None:
    """Return the content of a manifest of ours; refuse a file that is none, or that can't be known to be one."""
    content, why = None, ""
    try:
        content = folder.read(place, LARGEST)
    except ScenarioFileError as error:
        why = f" ({str(error).rstrip('.')})"
    if why or _is_foreign(content):
        raise ScenarioFileError(
            f"{folder.uri(place)} is a file that this operator did not write{why}.\nNothing was fetched: the manifest "
            "would replace that file.\nGive the manifest another name (manifest='videos.json'), or move the file away. "
            "Then clear the task: it buys nothing."
        )
    return content


def _is_foreign(content: bytes | None) -> bool:
    """Tell whether a file is somebody else's, and not a manifest of ours, whole or cut, or empty."""
    if content is None or not content.strip(b"\0 \r\n"):
        return False
    return not (_parsed(content) or content.startswith(_BEGINNING))


def _same_files(before: bytes | None, after: bytes) -> bool:
    files = _parsed(before).get("files")
    return files is not None and _recorded([before]) == _recorded([after])
