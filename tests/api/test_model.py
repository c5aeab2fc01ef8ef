"""What is read of a model's record."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest

from airflow_provider_scenario.api.model import InputType, Model, ModelInput, UsualTimes, packaged_model

PACKAGED = sorted(
    record.name.removesuffix(".json")
    for record in resources.files("airflow_provider_scenario.api").joinpath("records").iterdir()
    if record.name.endswith(".json")
)


@pytest.mark.parametrize(
    ("name", "expected", "is_array", "item"),
    [
        ("boolean", InputType.BOOLEAN, False, InputType.BOOLEAN),
        ("file", InputType.FILE, False, InputType.FILE),
        ("file_array", InputType.FILE_ARRAY, True, InputType.FILE),
        ("inputs_array", InputType.INPUTS_ARRAY, True, InputType.UNKNOWN),
        ("model", InputType.MODEL, False, InputType.MODEL),
        ("model_array", InputType.MODEL_ARRAY, True, InputType.MODEL),
        ("number", InputType.NUMBER, False, InputType.NUMBER),
        ("number_array", InputType.NUMBER_ARRAY, True, InputType.NUMBER),
        ("string", InputType.STRING, False, InputType.STRING),
        ("string_array", InputType.STRING_ARRAY, True, InputType.STRING),
        ("colour", InputType.UNKNOWN, False, InputType.UNKNOWN),
        ("colour_array", InputType.UNKNOWN, False, InputType.UNKNOWN),
    ],
)
def test_types(name: str, expected: InputType, is_array: bool, item: InputType) -> None:
    read = ModelInput.read({"name": "one", "type": name}).type
    assert (read, read.is_array, read.item) == (expected, is_array, item)


def test_a_whole_row_is_read() -> None:
    row = {
        "name": "audio",
        "type": "file",
        "required": {"always": True},
        "default": None,
        "allowedValues": ["a", "b"],
        "min": 1,
        "max": 2.5,
        "minLength": 3,
        "maxLength": 4,
        "kind": "audio",
        "minDuration": 3,
        "maxDuration": 30,
        "maxSize": 15728640,
        "costImpact": True,
    }
    assert ModelInput.read(row) == ModelInput(
        name="audio",
        type=InputType.FILE,
        required={"always": True},
        allowed_values=("a", "b"),
        minimum=1,
        maximum=2.5,
        shortest=3,
        longest=4,
        kind="audio",
        shortest_duration=3,
        longest_duration=30,
        largest_size=15728640,
        cost_impact=True,
    )


@pytest.mark.parametrize(
    ("required", "given", "expected"),
    [
        (None, {}, False),
        ({}, {}, False),
        ({"always": True}, {}, True),
        # An object is no yes by itself.
        ({"always": False}, {}, False),
        (True, {}, True),
        (False, {}, False),
        ({"ifDefined": {"last": {"message": "both"}}}, {}, False),
        ({"ifDefined": {"last": {"message": "both"}}}, {"last": "asset_1"}, True),
        ({"ifNotDefined": {"image": {"message": "one of them"}}}, {}, True),
        ({"ifNotDefined": {"image": {"message": "one of them"}}}, {"image": "asset_1"}, False),
        ({"ifNotDefined": {"image": {}, "video": {}}}, {"video": "asset_1"}, False),
        ({"ifNotDefined": {"image": {}, "video": {}}}, {}, True),
        ({"conditional": {"values": {"mode": ["a", "b"]}}}, {"mode": "b"}, True),
        ({"conditional": {"values": {"mode": ["a", "b"]}}}, {"mode": "c"}, False),
        ({"conditional": {"values": {"mode": ["a", "b"]}}}, {}, False),
        ({"conditional": {"values": {"mode": "a"}}}, {"mode": "a"}, True),
        ({"conditional": {"values": {"mode": ["a"], "on": [True]}, "operator": "and"}}, {"mode": "a"}, False),
        (
            {"conditional": {"values": {"mode": ["a"], "on": [True]}, "operator": "and"}},
            {"mode": "a", "on": True},
            True,
        ),
        ({"conditional": {"values": {"mode": ["a"], "on": [True]}, "operator": "or"}}, {"on": True}, True),
        ({"conditional": {"values": {"mode": ["a"], "on": [True]}, "operator": "or"}}, {"on": False}, False),
        ({"conditional": {"values": {}}}, {}, False),
        # Rules of a shape that nobody has documented ask for nothing.
        ({"ifDefined": True, "ifNotDefined": 1, "conditional": ["mode"]}, {"mode": "a"}, False),
        ({"conditional": {"values": ["mode"]}}, {"mode": "a"}, False),
    ],
)
def test_when_an_input_must_be_given(required: Any, given: dict[str, Any], expected: bool) -> None:
    row = ModelInput.read({"name": "one", "type": "string", "required": required})
    assert row.is_required_with(given) is expected


@pytest.mark.parametrize(
    ("tags", "successor"),
    [
        (["sc:third-party", "deprecated:model_2"], "model_2"),
        (["sc:third-party"], None),
        ([], None),
        (None, None),
    ],
)
def test_a_deprecated_model_names_its_successor(tags: list[str] | None, successor: str | None) -> None:
    assert Model.read({"id": "model_1", "tags": tags}).successor == successor


def test_a_model_of_a_list_has_no_inputs_and_may_lack_a_name() -> None:
    assert Model.read({"id": "model_1"}) == Model("model_1", "model_1")


@pytest.mark.parametrize(
    ("rows", "largest"),
    [
        ([{"name": "seed", "type": "number"}], 2**31 - 1),
        ([{"name": "seed", "type": "number", "max": 65535}], 65535),
        ([{"name": "seed", "type": "number", "max": 2**53}], 2**31 - 1),
        ([{"name": "seed", "type": "string"}], 0),
        ([{"name": "prompt", "type": "string"}], 0),
        ([], 0),
    ],
)
def test_a_seed_is_a_number_up_to_what_the_model_takes(rows: list[dict[str, Any]], largest: int) -> None:
    assert Model.read({"id": "model_1", "inputs": rows}).largest_seed == largest


@pytest.mark.parametrize("model_id", PACKAGED)
def test_every_packaged_record_is_read_whole(model_id: str) -> None:
    model = packaged_model(model_id)
    assert model is not None
    assert model.id == model_id
    assert model.largest_seed == 2**31 - 1
    assert all(one.type is not InputType.UNKNOWN for one in model.inputs)
    assert len({one.name for one in model.inputs}) == len(model.inputs) >= 5


@pytest.mark.parametrize("model_id", ["model_unheard-of", "../model", "", "model_wan-2-5-t2v.json"])
def test_there_is_no_record_of_other_models(model_id: str) -> None:
    assert packaged_model(model_id) is None


def variant(key: str, running: object = None, total: object = None) -> dict[str, object]:
    return {"variantKey": key, "inferenceLatencyP50Sec": running, "totalLatencyP50Sec": total}


@pytest.mark.parametrize(
    ("stats", "usual"),
    [
        (None, None),
        ({}, None),
        ({"variants": "none"}, None),
        ({"variants": [variant("a"), variant("b", "soon", -1)]}, None),
        ({"variants": [variant("a", 100, 120.5)]}, UsualTimes(100.0, 120.5)),
        ({"variants": [variant("a", None, 120)]}, UsualTimes(None, 120.0)),
        ({"default": "a", "variants": [variant("a", 100, 120), variant("b", 300, 320)]}, UsualTimes(100.0, 120.0)),
        ({"default": "c", "variants": [variant("a", 100, 120), variant("b", 300, 320)]}, UsualTimes(300.0, 320.0)),
        ({"variants": [variant("a", 100, 120), variant("b", 300)]}, UsualTimes(300.0, None)),
    ],
)
def test_how_long_jobs_usually_take(stats: object, usual: UsualTimes | None) -> None:
    assert Model.read({"id": "model_1", "performanceStats": stats}).usual == usual
