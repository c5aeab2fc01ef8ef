"""Names of saved files: from a template, never outside their folder, never twice the same. Pure."""

from __future__ import annotations

import itertools
import string
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath

from airflow_provider_scenario.api.asset import Asset
from airflow_provider_scenario.exceptions import ScenarioConfigurationError

DEFAULT_TEMPLATE = "{asset_id}{ext}"
"""How a file is called where the destination is a plain folder."""

_FIELDS_OF_JOB = frozenset({"job_id", "model_id"})
_FIELDS = ("asset_id", "ext", "index", "kind", "job_id", "model_id")


def split_destination(destination: str) -> tuple[str, str]:
    """Split a destination into its folder and the template of the names below it.

    >>> split_destination("s3://bucket/clips")
    ('s3://bucket/clips', '{asset_id}{ext}')
    >>> split_destination("/data/{model_id}/{index:03d}{ext}")
    ('/data/', '{model_id}/{index:03d}{ext}')

    :param destination: A folder, or a folder and a template: the first part with a brace begins the template.
    :return: Folder and template.
    :raises ScenarioConfigurationError: if the template has an unknown field, or its names would leave the folder.
    """
    if "{" not in destination and "}" not in destination:
        return destination, DEFAULT_TEMPLATE
    brace = min(place for place in (destination.find("{"), destination.find("}")) if place >= 0)
    cut = destination.rfind("/", 0, brace) + 1
    folder, template = destination[:cut], destination[cut:]
    if cut == 0 or (folder.endswith("://") and not folder.startswith("/")):
        raise ScenarioConfigurationError(f"destination is {destination!r}: it must begin with a folder without braces.")
    if template.endswith("/"):
        template += DEFAULT_TEMPLATE
    _check_template(template)
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
    """Name each asset's file.

    :param template: What :func:`split_destination` returned.
    :param assets: The assets by their place, from 1.
    :param facts: ``job_id`` and ``model_id``, where they are known.
    :param reserved: Names that no file may have.
    :return: By place, a path relative to the folder. A name that would come twice, also in capitals, gets ``-2``,
        ``-3``, ... before its ending.
    :raises ScenarioConfigurationError: if the template asks for a fact that isn't known.
    """
    names: dict[int, str] = {}
    taken = {_same(name) for name in reserved}
    for place, asset in sorted(assets.items()):
        values = {**facts, "asset_id": asset.id, "kind": asset.kind}
        name = _fill(template, _parts_of_names(values), place, asset.extension)
        names[place] = _free(name, taken)
        taken.add(_same(names[place]))
    return names


def name_in_common_folder(template: str, name: str, facts: Mapping[str, str | None]) -> str:
    """Return the path, relative to the folder, of a file that stands for all: beside them, in their common folder.

    :param template: What :func:`split_destination` returned.
    :param name: How the file is called.
    :param facts: ``job_id`` and ``model_id``, where they are known.
    :raises ScenarioConfigurationError: if the template asks for a fact that isn't known.
    """
    folder = common_folder(template)
    return _fill(folder + "x", _parts_of_names(facts), 0, "")[:-1] + name if folder else name


def asset_ids_of(given: object) -> list[str]:
    """Return the asset ids an author means.

    :param given: One id; several in a list, or in the text templating makes of a list; or the lists that mapped tasks
        returned. An id that comes twice counts once.
    :raises ScenarioConfigurationError: if there is none, or one that can't be an id.
    """
    ids = list(dict.fromkeys(_flatten(given)))
    if not ids:
        raise ScenarioConfigurationError("asset_ids names no asset. Give the id of one at least.")
    for asset_id in ids:
        if not asset_id or any(sign in asset_id for sign in "/\\{}[]'\" \t\n") or asset_id in (".", "..", "None"):
            raise ScenarioConfigurationError(
                f"asset_ids holds {asset_id!r}, which is no asset id. An id looks like asset_abc123."
            )
    return ids


def _flatten(given: object) -> list[str]:
    if isinstance(given, str):
        return _from_text(given)
    if isinstance(given, Iterable):
        return [asset_id for item in given for asset_id in _flatten(item)]
    return [str(given)]


def _from_text(text: str) -> list[str]:
    """Read one id, or the ``['a', 'b']`` that a template makes of a list (``(...)`` of a tuple)."""
    bare = text.strip()
    if bare[:1] not in ("[", "("):
        return [bare]
    items = (item.strip().strip("'\"") for item in bare[1:-1].split(","))
    return [item for item in items if item]


def _check_template(template: str) -> None:
    try:
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
    if any(part in ("", ".", "..") for part in name.split("/")) or "\x00" in name:
        raise ScenarioConfigurationError(
            f"The file name {name!r} of destination would leave its folder or is incomplete. Use plain names."
        )
    return name


def _parts_of_names(values: Mapping[str, str | None]) -> dict[str, str]:
    return {key: _flat(value) for key, value in values.items() if value is not None}


def _flat(value: str) -> str:
    """Return a value that is one plain part of a name."""
    plain = "".join("_" if sign in "/\\" or unicodedata.category(sign) == "Cc" else sign for sign in value)
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
