"""Names: from a template, inside their folder, never twice the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_scenario.api.asset import Asset
from airflow_provider_scenario.exceptions import ScenarioConfigurationError
from airflow_provider_scenario.files.naming import (
    DEFAULT_TEMPLATE,
    asset_ids_of,
    check_asset_id,
    file_names,
    split_destination,
)


def an_asset(asset_id: str, mime_type: str = "video/mp4") -> Asset:
    return Asset(id=asset_id, url="", kind=mime_type.partition("/")[0], mime_type=mime_type)


@pytest.mark.parametrize(
    ("destination", "folder", "template"),
    [
        ("/data", "/data", DEFAULT_TEMPLATE),
        ("s3://conn@bucket/clips", "s3://conn@bucket/clips", DEFAULT_TEMPLATE),
        ("/data/{asset_id}{ext}", "/data/", "{asset_id}{ext}"),
        ("file:///{index:03d}{ext}", "file:///", "{index:03d}{ext}"),
        ("s3://bucket/a b/ö/{model_id}/{index}{ext}", "s3://bucket/a b/ö/", "{model_id}/{index}{ext}"),
        ("/data/{job_id}/", "/data/", "{job_id}/{asset_id}{ext}"),
        ("/data/wide-{asset_id}{ext}", "/data/", "wide-{asset_id}{ext}"),
    ],
)
def test_a_destination_is_a_folder_and_a_template(destination: str, folder: str, template: str) -> None:
    assert split_destination(destination) == (folder, template)


@pytest.mark.parametrize(
    ("destination", "says"),
    [
        ("/data/{name}", "unknown field {name}"),
        ("/data/{asset_id.__class__}", "unknown field"),
        ("/data/{}", "unknown field"),
        ("/data/{asset_id", "can't be read"),
        ("/data/asset_id}", "can't be read"),
        ("/data/{index:q}", "can't be read"),
        ("/data/{asset_id}/../../x{ext}", "would leave its folder"),
        ("/data/{asset_id}//x{ext}", "would leave its folder"),
        ("/data/{asset_id}", "must end with {ext}"),
        ("/data/{kind}.py", "must end with {ext}"),
        ("/data/{asset_id}{ext}.py", "must end with {ext}"),
        ("/data/{asset_id}{ext:.0}", "can't be read"),
        ("/data/{index:999999999d}{ext}", "can't be read"),
        ("/data/{asset_id:{index}}{ext}", "can't be read"),
        ("{asset_id}{ext}", "must begin with a folder"),
        ("s3://{asset_id}", "must begin with a folder"),
    ],
)
def test_a_template_that_cannot_work_is_refused(destination: str, says: str) -> None:
    with pytest.raises(ScenarioConfigurationError) as refusal:
        split_destination(destination)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{asset_id}{ext}", ["asset_a.mp4", "asset_b.png"]),
        ("{index:03d}-{kind}{ext}", ["001-video.mp4", "002-image.png"]),
        ("same", ["same", "same-2"]),
        ("{job_id}/{model_id}{ext}", ["job_1/model_1.mp4", "job_1/model_1.png"]),
    ],
)
def test_names(template: str, names: list[str]) -> None:
    assets = {1: an_asset("asset_a"), 2: an_asset("asset_b", "image/png")}
    found = file_names(template, assets, {"job_id": "job_1", "model_id": "model_1"})
    assert [found[1], found[2]] == names


def test_two_names_that_some_file_systems_take_for_one_differ() -> None:
    assets = {1: an_asset("asset_ä"), 2: an_asset("asset_Ä"), 3: an_asset("asset_a\u0308")}
    assert list(file_names("{asset_id}{ext}", assets, {}).values()) == [
        "asset_ä.mp4",
        "asset_Ä-2.mp4",
        "asset_a\u0308-3.mp4",
    ]


def test_a_fact_that_is_not_known_is_missed_by_name() -> None:
    with pytest.raises(ScenarioConfigurationError, match="needs model_id"):
        file_names("{model_id}{ext}", {1: an_asset("asset_a")}, {"job_id": "job_1", "model_id": None})


@given(st.text(st.characters(), max_size=20), st.text(st.characters(), max_size=20))
def test_no_value_leads_out_of_the_folder(asset_id: str, model_id: str) -> None:
    name = file_names("{model_id}/{asset_id}", {1: an_asset(asset_id)}, {"model_id": model_id or "m"})[1]
    parts = name.split("/")
    assert len(parts) == 2
    assert not {"", ".", ".."} & set(parts)
    assert name.encode(), "a file can be called so"


@given(st.lists(st.sampled_from(["a", "A", "a-2", "b"]), max_size=8))
def test_no_name_comes_twice(ids: list[str]) -> None:
    assets = {place: an_asset(asset_id) for place, asset_id in enumerate(ids, start=1)}
    names = [name.casefold() for name in file_names("{asset_id}{ext}", assets, {}).values()]
    assert len(set(names)) == len(ids)


@pytest.mark.parametrize(
    ("given_ids", "ids"),
    [
        ("asset_1", ["asset_1"]),
        (" asset_1\n", ["asset_1"]),
        (["asset_1", "asset_2"], ["asset_1", "asset_2"]),
        ("['asset_1', 'asset_2']", ["asset_1", "asset_2"]),
        ('["asset_1"]', ["asset_1"]),
        ("('asset_1', 'asset_2')", ["asset_1", "asset_2"]),
        ([["asset_1", "asset_2"], ["asset_3"]], ["asset_1", "asset_2", "asset_3"]),
        (["asset_1", "asset_1"], ["asset_1"]),
        ("[['asset_1', 'asset_2'], ['asset_3']]", ["asset_1", "asset_2", "asset_3"]),
        ("[asset_1, asset_2]", ["asset_1", "asset_2"]),
        (iter(["asset_1"]), ["asset_1"]),
    ],
)
def test_asset_ids_as_they_come(given_ids: object, ids: list[str]) -> None:
    assert asset_ids_of(given_ids) == ids


@pytest.mark.parametrize("given_ids", ["", [], "[]", "[[]]", "null", " None ", [None], "[None]", None])
def test_ids_that_came_out_empty_are_said_to(given_ids: object) -> None:
    with pytest.raises(ScenarioConfigurationError, match="came out empty"):
        asset_ids_of(given_ids)


@pytest.mark.parametrize("given_ids", ["", [], "[]", None, "None", ["../asset"], "asset 1", "a/b", ["asset_1", ""]])
def test_what_is_no_asset_id_is_refused(given_ids: object) -> None:
    def check() -> None:
        for asset_id in asset_ids_of(given_ids):
            check_asset_id(asset_id)

    with pytest.raises(ScenarioConfigurationError):
        check()
