"""Names of saved files: from a template, never outside their folder, never twice the same. Pure."""

from __future__ import annotations

import ast
import itertools
import re
import string
import unicodedata
import urllib.parse
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath

from airflow_provider_scenario.api.asset import Asset
from airflow_provider_scenario.api.values import is_no_value
from airflow_provider_scenario.exceptions import ScenarioConfigurationError, ScenarioFileError

DEFAULT_TEMPLATE = "{asset_id}{ext}"
"""How a file is called where the destination is a plain folder."""

_FIELDS_OF_JOB = frozenset({"job_id", "model_id"})
_FIELDS = ("asset_id", "ext", "index", "kind", "job_id", "model_id")
_SPEC = re.compile(r"0?\d{0,3}[a-z]?")
"""How a field may be formatted, such as ``03d``: a longer number would make a name of gigabytes."""


def below_root(destination: str, root: str) -> str:
    """Return a destination that is sure to lie below a root, as far as its text shows.

    >>> below_root("tall/{asset_id}{ext}", "s3://conn@bucket/clips")
    's3://conn@bucket/clips/tall/{asset_id}{ext}'
    """
    # The destination is what a template rendered, the root what the DAG's author fixed.
    if "{" in root or "}" in root:
        raise ScenarioConfigurationError(f"root is {root!r}: it is a plain folder, without braces.")
    root, wanted = _without_file_scheme(root.strip()).rstrip("/"), _without_file_scheme(destination.strip())
    if "/" not in root and root:
        raise ScenarioConfigurationError(f"root is {root!r}: give a URI or an absolute path.")
    if wanted == root or wanted.startswith(root + "/"):
        wanted = wanted[len(root) :].lstrip("/")
    elif wanted.startswith("/"):
        raise _outside(destination, root)
    plain = _decoded(wanted)
    parts = [part.strip() for part in re.split(r"[/\\]", plain)]
    if ".." in parts or "://" in plain or "::" in plain or any(is_unwritable(sign) for sign in plain):
        raise _outside(destination, root)
    return f"{root}/{wanted}"


def _outside(destination: str, root: str) -> ScenarioFileError:
    return ScenarioFileError(
        f"destination is {destination!r}, which is not below root {root or '/'!r}. Nothing was fetched. Give a path "
        "relative to root, without '..'."
    )


def _without_file_scheme(text: str) -> str:
    """Return a local path for its URI; other URIs as they are."""
    for scheme in ("file://", "local://"):
        if text.lower().startswith(scheme):
            return text[len(scheme) :]
    return text


def _decoded(text: str) -> str:
    """Return a text without percent-encoding, however often it was applied."""
    for _ in range(10):
        plain = urllib.parse.unquote(text)
        if plain == text:
            break
        text = plain
    return unicodedata.normalize("NFKC", text)


def split_destination(destination: str) -> tuple[str, str]:
    """Split a destination into its folder and the template of the names below it.

    >>> split_destination("s3://bucket/clips")
    ('s3://bucket/clips', '{asset_id}{ext}')
    >>> split_destination("/data/{model_id}/{index:03d}{ext}")
    ('/data/', '{model_id}/{index:03d}{ext}')
    """
    if "{" not in destination and "}" not in destination:
        return destination, DEFAULT_TEMPLATE
    # The first part with a brace begins the template.
    brace = min(place for place in (destination.find("{"), destination.find("}")) if place >= 0)
    cut = destination.rfind("/", 0, brace) + 1
    folder, template = destination[:cut], destination[cut:]
    if cut == 0 or (folder.endswith("://") and not folder.startswith("/")):
        raise ScenarioConfigurationError(f"destination is {destination!r}: it must begin with a folder without braces.")
    if template.endswith("/"):
        template += DEFAULT_TEMPLATE
    _check_template(template)
    if not template.endswith("{ext}"):
        raise ScenarioConfigurationError(
            f"The file name {template!r} of destination must end with {{ext}}, the ending that fits the file's type."
        )
    return folder, template


def template_fields_of(template: str) -> frozenset[str]:
    """Return the names of the fields a template uses."""
    return frozenset(field for _, field, _, _ in string.Formatter().parse(template) if field is not None)


def common_folder(template: str) -> str:
    """Return the beginning of a template that is the same for every file of a job: folders, and a slash after each.

    >>> common_folder("{job_id}/{kind}/{asset_id}{ext}")
    '{job_id}/'
    """
    folders = template.split("/")[:-1]
    common = itertools.takewhile(lambda folder: template_fields_of(folder) <= _FIELDS_OF_JOB, folders)
    return "".join(f"{folder}/" for folder in common)


def file_names(
    template: str,
    assets: Mapping[int, Asset],
    facts: Mapping[str, str | None],
    reserved: Collection[str] = (),
) -> dict[int, str]:
    """Name each asset's file, by its place from 1: paths relative to the folder, none of them twice."""
    names: dict[int, str] = {}
    taken = {_same(name) for name in reserved}
    for place, asset in sorted(assets.items()):
        values = {**facts, "asset_id": asset.id, "kind": asset.kind}
        name = _fill(template, _parts_of_names(values), place, asset.extension)
        # One that would come twice, also in capitals, gets -2, -3, ... before its ending.
        names[place] = _free(name, taken)
        taken.add(_same(names[place]))
    return names


def name_in_common_folder(template: str, name: str, facts: Mapping[str, str | None]) -> str:
    """Return the path, relative to the folder, of a file that stands for all: beside them, in their common folder."""
    folder = common_folder(template)
    return _fill(folder + "x", _parts_of_names(facts), 0, "")[:-1] + name if folder else name


def asset_ids_of(given: object) -> list[str]:
    """Return each asset id once. They are not checked here: see :func:`check_asset_id`."""
    ids = list(dict.fromkeys(_flatten(given)))
    if all(map(is_no_value, ids)):
        raise ScenarioConfigurationError(
            "asset_ids came out empty: it names no asset. Check the task it comes from: it may have been skipped, or "
            "have returned nothing."
        )
    return ids


def check_asset_id(asset_id: str) -> None:
    """Refuse what can't be an asset's id, such as a path."""
    is_odd = not asset_id.isprintable() or any(sign in asset_id for sign in "/\\{}[]'\"?#% ") or len(asset_id) > 200
    if not asset_id or is_odd or asset_id in (".", "..", "None"):
        raise ScenarioConfigurationError(
            f"asset_ids holds {asset_id[:100]!r}, which is no asset id. An id looks like asset_abc123."
        )


def _flatten(given: object) -> list[str]:
    # One id; several in a list, or in the text templating makes of a list; or the lists that mapped tasks returned.
    if isinstance(given, str):
        return _from_text(given)
    if isinstance(given, Mapping):
        return [str(given)]
    if isinstance(given, Iterable):
        return [asset_id for item in given for asset_id in _flatten(item)]
    return [str(given)]


def _from_text(text: str) -> list[str]:
    """Read one id, or the ``['a', ['b']]`` that a template makes of a list (``(...)`` of a tuple)."""
    bare = text.strip()
    if bare[:1] not in ("[", "("):
        return [bare]
    try:
        return _flatten(list(ast.literal_eval(bare)))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        items = (item.strip().strip("'\"") for item in bare[1:-1].split(","))
        return [item for item in items if item]


def _check_template(template: str) -> None:
    try:
        specs = [spec for _, field, spec, _ in string.Formatter().parse(template) if field is not None]
        if not all(_SPEC.fullmatch(spec or "") for spec in specs):
            raise ValueError("a field may be formatted as {index:03d} only")
        unknown = sorted(template_fields_of(template) - set(_FIELDS))
        common_folder(template)
        if not unknown:
            _fill(template, dict.fromkeys(_FIELDS, "x"), 1, ".mp4")
    except ValueError as error:
        raise ScenarioConfigurationError(
            f"The file name {template!r} of destination can't be read: {error}."
        ) from error
    if unknown:
        raise ScenarioConfigurationError(
            f"The file name {template!r} of destination has the unknown field {{{unknown[0]}}}. "
            f"There are: {', '.join(f'{{{field}}}' for field in _FIELDS)}."
        )


def _fill(template: str, values: Mapping[str, str], place: int, extension: str) -> str:
    try:
        name = template.format_map({**values, "index": place, "ext": extension})
    except KeyError as missing:
        field = missing.args[0]
        raise ScenarioConfigurationError(
            f"The file name {template!r} of destination needs {field}, which is known only with job_id."
        ) from None
    if any(part in ("", ".", "..") for part in name.split("/")) or any(is_unwritable(sign) for sign in name):
        raise ScenarioConfigurationError(
            f"The file name {name!r} of destination would leave its folder or is incomplete. Use plain names."
        )
    return name


def _parts_of_names(values: Mapping[str, str | None]) -> dict[str, str]:
    return {key: _flat(value) for key, value in values.items() if value is not None}


def is_unwritable(sign: str) -> bool:
    """Return whether no name may hold a character: it is a control character, or half of a surrogate pair."""
    return unicodedata.category(sign) in ("Cc", "Cs")


def _flat(value: str) -> str:
    """Return a value that is one plain part of a name."""
    plain = "".join("_" if sign in "/\\" or is_unwritable(sign) else sign for sign in value)
    return "_" if plain in ("", ".", "..") else plain


def _free(name: str, taken: set[str]) -> str:
    path, number, free = PurePosixPath(name), 1, name
    while _same(free) in taken:
        number += 1
        free = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
    return free


def _same(name: str) -> str:
    """Return what two names share that some file systems take for one."""
    return unicodedata.normalize("NFC", name).casefold()
