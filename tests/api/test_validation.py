"""Inputs are checked before paying."""

from __future__ import annotations

import datetime
import json
import numbers
import os
from collections import UserList
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_scenario.api.asset import Asset, AssetStatus
from airflow_provider_scenario.api.model import Model, ModelInput, packaged_model
from airflow_provider_scenario.api.validation import CheckedInputs, asset_ids, check_asset, check_inputs
from airflow_provider_scenario.api.values import CAME_OUT_EMPTY
from airflow_provider_scenario.arguments import GivenInputs
from tests.api.test_model import PACKAGED

SIGNED = "https://cdn.cloud.scenario.com/assets/a.mp4?Policy=p&Signature=SeCrEt"
OUTPAINTING = "model_wan-2-2-vace-fun-a14b-outpainting"


def model_of(*rows: Mapping[str, Any]) -> Model:
    return Model.read({"id": "model_1", "name": "Model One", "inputs": rows})


def packaged(model_id: str) -> Model:
    model = packaged_model(model_id)
    assert model is not None
    return model


def check_one(row: Mapping[str, Any], value: Any) -> CheckedInputs:
    return check_inputs(model_of({"name": "one", **row}), {"one": value})


BOOLEAN = {"type": "boolean"}
NUMBER = {"type": "number"}
RANGED = {"type": "number", "min": 0, "max": 0.9}
CHOICE = {"type": "string", "allowedValues": ["720p", "480p"]}
COUNTED = {"type": "number", "allowedValues": [5, 10]}
STRING = {"type": "string"}
BOUNDED = {"type": "string", "minLength": 2, "maxLength": 4}
FILE = {"type": "file", "kind": "video"}
FILES = {"type": "file_array", "kind": "image", "minLength": 1, "maxLength": 2}
MODEL = {"type": "model"}
MODELS = {"type": "model_array"}
NUMBERS = {"type": "number_array", "min": 0, "max": 1}
STRINGS = {"type": "string_array", "allowedValues": ["a", "b"]}
OBJECTS = {"type": "inputs_array"}
UNKNOWN = {"type": "colour"}
LISTS = (FILES, MODELS, NUMBERS, STRINGS, OBJECTS)
EVERY_TYPE = (BOOLEAN, NUMBER, RANGED, CHOICE, COUNTED, STRING, BOUNDED, FILE, MODEL, UNKNOWN, *LISTS)


@pytest.mark.parametrize(
    ("row", "value", "expected"),
    [
        (BOOLEAN, True, True),
        (BOOLEAN, False, False),
        (BOOLEAN, "true", True),
        (BOOLEAN, " True ", True),
        (BOOLEAN, "False", False),
        (BOOLEAN, "no", False),
        (BOOLEAN, "1", True),
        (NUMBER, 5, 5),
        (NUMBER, 5.0, 5),
        (NUMBER, 5.5, 5.5),
        (NUMBER, "5", 5),
        (NUMBER, " 5.5 ", 5.5),
        (NUMBER, "5.0", 5),
        (NUMBER, "-3", -3),
        (NUMBER, str(2**63 + 1), 2**63 + 1),
        (NUMBER, 10**400, 10**400),
        (RANGED, 0, 0),
        (RANGED, 0.9, 0.9),
        (RANGED, "0.9", 0.9),
        (COUNTED, "10", 10),
        (COUNTED, 5.0, 5),
        ({"type": "number", "allowedValues": ["5", "10"]}, 5, 5),
        (CHOICE, "480p", "480p"),
        ({"type": "string", "allowedValues": ["5", "10"]}, 5, "5"),
        ({"type": "string", "allowedValues": [5, 10]}, "5", "5"),
        (STRING, "none", "none"),
        (STRING, "A picture of None", "A picture of None"),
        ({"type": "string", "allowedValues": ["film", "None", ""]}, "None", "None"),
        ({"type": "string", "allowedValues": ["film", "None", ""]}, "", ""),
        (STRING, "  spaces are the author's  ", "  spaces are the author's  "),
        (STRING, "[not a list]", "[not a list]"),
        (STRING, 7, "7"),
        (BOUNDED, "ab", "ab"),
        (BOUNDED, "abcd", "abcd"),
        (FILE, "asset_1-A", "asset_1-A"),
        (FILE, " asset_1\n", "asset_1"),
        (FILE, "data:video/mp4;base64,AAAA", "data:video/mp4;base64,AAAA"),
        (FILES, ["asset_1"], ["asset_1"]),
        (FILES, ("asset_1", "asset_2"), ["asset_1", "asset_2"]),
        (FILES, '["asset_1", "asset_2"]', ["asset_1", "asset_2"]),
        (FILES, "['asset_1', 'asset_2']", ["asset_1", "asset_2"]),
        (FILES, " ('asset_1', 'asset_2') ", ["asset_1", "asset_2"]),
        (MODEL, "model_1", "model_1"),
        (MODEL, "model_1 ", "model_1"),
        (MODELS, ["model_1"], ["model_1"]),
        (NUMBERS, [0, "0.5", 1.0], [0, 0.5, 1]),
        (NUMBERS, "[0, 0.5]", [0, 0.5]),
        (STRINGS, ["a", "b", "a"], ["a", "b", "a"]),
        (STRINGS, " ['a']", ["a"]),
        (STRINGS, [], []),
        (OBJECTS, [{"prompt": "one"}, {"prompt": "two"}], [{"prompt": "one"}, {"prompt": "two"}]),
        (OBJECTS, '[{"prompt": "one"}]', [{"prompt": "one"}]),
        (UNKNOWN, {"any": ["thing", 1, None]}, {"any": ["thing", 1, None]}),
        # Items that came out empty are left out.
        (FILES, [None, "asset_1", "None", " "], ["asset_1"]),
        (FILES, "['asset_1', 'None', '']", ["asset_1"]),
        (NUMBERS, [0, None, "null", 1], [0, 1]),
        (
            OBJECTS,
            [None, {"prompt": "one", "negativePrompt": "None", "deep": {"seed": " "}}],
            [{"prompt": "one", "deep": {}}],
        ),
        # Numbers of other libraries.
        (NUMBER, Decimal("5.50"), 5.5),
        (NUMBER, Decimal("1E+2"), 100),
        (NUMBER, Fraction(1, 4), 0.25),
        (NUMBER, Fraction(8, 2), 4),
        (NUMBERS, (Decimal(0), Decimal("0.1")), [0, 0.1]),
        (STRING, Decimal("7.10"), "7.1"),
        (OBJECTS, ({"seed": Decimal(7), "at": (1, 2)},), [{"seed": 7, "at": [1, 2]}]),
        (UNKNOWN, {"n": [Decimal("0.5")]}, {"n": [0.5]}),
        (STRINGS, UserList(["a", "b"]), ["a", "b"]),
    ],
)
def test_right_values_and_what_templating_made_of_them(row: dict[str, Any], value: Any, expected: Any) -> None:
    checked = check_one(row, value)
    assert checked.faults == ()
    assert checked.values == {"one": expected}
    assert type(checked.values["one"]) is type(expected)


@pytest.mark.parametrize(
    "text",
    [
        "nan",
        "NaN",
        "<NA>",
        "NaT",
        "[]",
        "{}",
        "[None]",
        "[None, None]",
        "('None',)",
        '""',
        "undefined",
        "\u200b",
        "\ufeffNone",
    ],
)
def test_a_text_that_nobody_can_want_counts_as_not_given(text: str) -> None:
    """As a missing cell of a table, or the XComs of a mapped task that has none."""
    assert check_one(STRING, text) == CheckedInputs({}, ())
    (fault,) = check_one({**STRING, "required": {"always": True}}, text).faults
    assert fault.startswith("one: is required, but came out empty")


@pytest.mark.parametrize(
    "text", ["none", "A nan bread", "None of them moves", "[a cat] and [a dog]", "nonet", "1", "…"]
)
def test_words_that_only_look_like_nothing_stay(text: str) -> None:
    assert check_one(STRING, text) == CheckedInputs({"one": text}, ())


@pytest.mark.parametrize(
    ("row", "value"),
    [
        *[(row, None) for row in EVERY_TYPE],
        *[(row, text) for row in EVERY_TYPE for text in ("", "None", "null", "  ", " None\n", "\tnull ")],
        *[(row, items) for row in LISTS for items in ([None], ["None", ""], "[None]", "['null']", (" ",))],
    ],
)
def test_no_value_is_as_good_as_not_given(row: dict[str, Any], value: Any) -> None:
    """As a template that came out empty: left out where it may be, refused where it is needed."""
    assert check_one(row, value) == CheckedInputs({}, ())
    required = check_one({**row, "required": {"always": True}}, value)
    assert required.values == {}
    (fault,) = required.faults
    assert fault.startswith(f"one: is required, but came out empty ({value!r}), as of an XCom that is not there")


@pytest.mark.parametrize(
    ("row", "value", "fault"),
    [
        (BOOLEAN, "maybe", "must be true or false, got 'maybe'."),
        (BOOLEAN, 1, "must be true or false, got 1."),
        (BOOLEAN, [True], "must be true or false, got [True]."),
        (NUMBER, "many", "must be a number, got 'many'."),
        (NUMBER, True, "must be a number, got True."),
        (NUMBER, [5], "must be a number, got [5]."),
        (NUMBER, {"n": 5}, "must be a number, got {'n': 5}."),
        (NUMBER, "nan", "must be a number, got 'nan'."),
        (NUMBER, float("inf"), "must be a number, got inf."),
        (NUMBER, "1e999", "must be a number, got '1e999'."),
        (RANGED, 1, "must be from 0 to 0.9, got 1."),
        (RANGED, "-0.1", "must be from 0 to 0.9, got '-0.1'."),
        (RANGED, 10**400, "must be from 0 to 0.9, got 1000"),
        ({"type": "number", "min": 81}, 80, "must be at least 81, got 80."),
        ({"type": "number", "max": 241}, 242, "must be at most 241, got 242."),
        (COUNTED, 7, "must be one of 5, 10, got 7."),
        (CHOICE, "1080p", "must be one of 720p, 480p, got '1080p'."),
        (STRING, True, "must be text, got True."),
        (STRING, ["a"], "must be text, got ['a']."),
        (STRING, {"a": 1}, "must be text, got {'a': 1}."),
        (BOUNDED, "a", "needs at least 2 characters, got 1."),
        (BOUNDED, "abcde", "takes at most 4 characters, got 5."),
        (FILE, ["asset_1"], "takes one id, not a list of 1."),
        (FILE, 7, "must be the id of a Scenario asset, a path or a URI, got 7."),
        (FILE, "clip.mp4", "an absolute path or a URI such as s3://connection@bucket/key, got 'clip.mp4'."),
        (FILE, "./clips/clip.mp4", "an absolute path or a URI"),
        (FILE, "https://example.com/clip.mp4", "must be the id of a Scenario asset"),
        # One id where a list belongs would be dropped in silence, and the job charged.
        (FILES, "asset_1", "takes a list, even of one: ['asset_1'] rather than 'asset_1'."),
        (FILES, {"id": "asset_1"}, "takes a list, even of one"),
        (FILES, [], "needs at least 1 items, got 0."),
        (FILES, ["asset_1", "asset_2", "asset_3"], "takes at most 2 items, got 3."),
        (FILES, [["asset_1"]], "takes one id, not a list of 1."),
        (FILES, ["data:image/png;base64,AAAA"], "must be the id of a Scenario asset"),
        (FILES, "[{[]: 1}]", "takes a list, even of one"),
        ({"type": "file_array", "required": {"always": True}}, [], "must not be empty."),
        (MODEL, 7, "must be the id of a Scenario model, got 7."),
        (MODELS, "model_1", "takes a list, even of one"),
        (NUMBERS, [0, 2], "must be from 0 to 1, got 2."),
        (NUMBERS, 0.5, "takes a list, even of one: [0.5] rather than 0.5."),
        (STRINGS, ["a", "c"], "must be one of a, b, got 'c'."),
        (STRINGS, "a", "takes a list, even of one"),
        (OBJECTS, {"prompt": "one"}, "takes a list, even of one"),
        (OBJECTS, [{"at": datetime.date(2026, 11, 20)}], "must be JSON, got {'at': datetime.date(2026, 11, 20)}."),
        (UNKNOWN, {1, 2}, "must be JSON, got {1, 2}."),
        (UNKNOWN, float("nan"), "must be JSON, got nan."),
        (NUMBER, Decimal("NaN"), "must be a number"),
        (NUMBER, Decimal("sNaN"), "must be a number"),
        (NUMBER, Decimal("-Infinity"), "must be a number"),
        (NUMBER, Decimal("1e999999"), "must be a number"),
        (NUMBER, 1j, "must be a number, got 1j."),
        (NUMBER, "1" * 5000, "must be a number"),
        (RANGED, Decimal("0.91"), "must be from 0 to 0.9"),
        (STRING, float("nan"), "must be text, got nan."),
        # Half a pair of UTF-16: Scenario could be sent it, but no record and no manifest could hold it.
        (STRING, "a \ud83d boat", "holds U+D83D, half a character, which no JSON can carry: 'a \\ud83d boat'."),
        (STRING, os.fsdecode(b"caf\xe9"), "holds U+DCE9, half a character"),
        ({"type": "string_array"}, ["fine", "\udc00"], "holds U+DC00, half a character"),
        (FILE, os.fsdecode(b"/data/caf\xe9.mp4"), "holds U+DCE9, half a character"),
        (OBJECTS, [{"prompt": "\ud83d"}], "holds U+D83D, half a character"),
        (OBJECTS, [{"\ud83d": 1}], "holds U+D83D, half a character"),
        (UNKNOWN, {"deep": ["\ud83d"]}, "holds U+D83D, half a character"),
    ],
)
def test_wrong_values(row: dict[str, Any], value: Any, fault: str) -> None:
    faults = check_one(row, value).faults
    assert len(faults) == 1
    assert faults[0].startswith("one: ")
    assert fault in faults[0]
    faults[0].encode()


@pytest.mark.usefixtures("no_finalizers")
@pytest.mark.parametrize("text", ["[" * 5000, "(" * 5000, "[" * 5000 + "]" * 5000])
def test_a_list_without_a_bottom_is_none(text: str) -> None:
    assert len(check_one(FILES, text).faults) == 1


@pytest.mark.parametrize(
    "row", [{"type": "string"}, {"type": "number", "allowedValues": [1]}], ids=["a text", "a choice"]
)
def test_a_number_too_long_to_be_written_is_a_fault_of_its_input(row: dict[str, Any]) -> None:
    (fault,) = check_one(row, 10**5000).faults
    assert fault.startswith("one: must be ")
    assert fault.endswith("too large to show.")


def test_a_seed_is_a_whole_number() -> None:
    model = model_of({"name": "seed", "type": "number"})
    assert check_inputs(model, {"seed": 7.0}) == CheckedInputs({"seed": 7})
    assert check_inputs(model, {"seed": 7.5}).faults == ("seed: must be a whole number, got 7.5.",)


def test_every_fault_is_told_at_once() -> None:
    faults = check_inputs(
        packaged(OUTPAINTING),
        {
            "prompt": "",
            "expandRatio": 3,
            "refImageUrls": "asset_1",
            "resolution": "8k",
            "matchInputNumFrames": "perhaps",
            "fps": 24,
        },
    ).faults
    assert faults == (
        "expandRatio: must be from 0 to 1, got 3.",
        "refImageUrls: takes a list, even of one: ['asset_1'] rather than 'asset_1'.",
        "resolution: must be one of 720p, 580p, 480p, got '8k'.",
        "matchInputNumFrames: must be true or false, got 'perhaps'.",
        faults[4],
        f"prompt: is required, but came out empty (''), {CAME_OUT_EMPTY}.",
        "videoUrl: is required.",
    )
    assert faults[4].startswith("fps: Wan 2.2 Outpainting has no such input.")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("expand_ratio", "Did you mean expandRatio?"),
        ("ExpandRatio", "Did you mean expandRatio?"),
        ("video_url", "Did you mean videoUrl?"),
        ("sead", "Did you mean seed?"),
        ("zzz", "It has: prompt, videoUrl, expandLeft,"),
    ],
)
def test_an_unknown_name_gets_a_suggestion(name: str, words: str) -> None:
    faults = check_inputs(packaged(OUTPAINTING), {"prompt": "a", "videoUrl": "asset_1", name: 1}).faults
    assert len(faults) == 1
    assert faults[0].startswith(f"{name}: Wan 2.2 Outpainting has no such input.")
    assert words in faults[0]


def test_an_unknown_name_without_a_value_is_let_pass() -> None:
    assert check_inputs(model_of({"name": "prompt", "type": "string"}), {"promt": None}) == CheckedInputs({})


def test_an_optional_input_that_came_out_empty_says_so_where_a_rule_needs_it() -> None:
    model = packaged("model_wan-2-2-i2v-a14b")
    given = {"prompt": "x", "image": "None", "lastFrameImage": "asset_1"}
    (fault,) = check_inputs(model, given).faults
    assert fault.startswith("image: is required, but came out empty ('None'), as of an XCom")
    assert "A first frame is needed" in fault
    (fault,) = check_inputs(model, {**given, "image": None}).faults
    assert fault.startswith("image: is required. A first frame is needed")


def test_a_name_that_is_no_unicode_can_be_told() -> None:
    (fault,) = check_inputs(model_of(), {"a\ud83d": 1}).faults
    assert fault == r"a\ud83d: Model One has no such input."


def test_a_name_that_is_no_text_can_be_told() -> None:
    assert repr(GivenInputs({5: 1})) == "GivenInputs(5)"  # type: ignore[dict-item]
    assert check_inputs(model_of(), {5: 1}).faults == ("5: Model One has no such input.",)  # type: ignore[dict-item]


class Scalar:
    """A number as numpy's are: it has no dimension, and gives Python's own."""

    ndim = 0

    def __init__(self, value: Any) -> None:
        self.value = value

    def tolist(self) -> Any:
        return self.value


@pytest.mark.parametrize(("row", "value"), [(NUMBER, 7), (BOOLEAN, True), (NUMBERS, [0, 0.5]), (STRING, "boat")])
def test_what_only_a_library_knows_is_taken_as_what_it_holds(row: dict[str, Any], value: Any) -> None:
    assert check_one(row, Scalar(value)).values == {"one": value}


@numbers.Integral.register
class Whole:
    """A whole number as numpy's are, which are no ``int``."""

    def __index__(self) -> int:
        return 7


def test_a_whole_number_of_any_library_is_one() -> None:
    assert check_one(NUMBER, Whole()).values == {"one": 7}
    assert type(check_one(NUMBER, Whole()).values["one"]) is int


def test_a_model_without_inputs_suggests_nothing() -> None:
    assert check_inputs(model_of(), {"a": 1}).faults == ("a: Model One has no such input.",)


@pytest.mark.parametrize(
    ("required", "given_too", "fault"),
    [
        ({"always": True}, {}, "one: is required."),
        ({"ifDefined": {"two": {"message": "Both or none."}}}, {"two": "x"}, "one: is required. Both or none."),
        ({"ifDefined": {"two": "Both or none."}}, {"two": "x"}, "one: is required. Both or none."),
        ({"ifDefined": {"two": {}}}, {"two": "x"}, "one: is required. It goes with two."),
        ({"ifDefined": {"two": {"message": "Both or none."}}}, {"two": None}, None),
        ({"ifNotDefined": {"two": {"message": "One of both."}}}, {}, "one: is required. One of both."),
        ({"ifNotDefined": {"two": {}}}, {}, "one: is required. Give it or two."),
        ({"ifNotDefined": {"two": {}}}, {"two": "x"}, None),
        ({"conditional": {"values": {"two": ["x"]}}}, {"two": "x"}, "one: is required."),
        ({"conditional": {"values": {"two": ["x"]}}}, {"two": "y"}, None),
        ({"always": False}, {}, None),
    ],
)
def test_what_is_missing(required: dict[str, Any], given_too: dict[str, Any], fault: str | None) -> None:
    model = model_of({"name": "one", "type": "string", "required": required}, {"name": "two", "type": "string"})
    assert check_inputs(model, given_too).faults == ((fault,) if fault else ())
    assert check_inputs(model, {**given_too, "one": "here"}).faults == ()


def test_a_wrong_value_is_not_called_missing_too() -> None:
    row = {"type": "number", "required": {"always": True}}
    assert check_one(row, "many").faults == ("one: must be a number, got 'many'.",)


@pytest.mark.parametrize("row", [BOOLEAN, NUMBER, CHOICE, FILE, FILES, NUMBERS, STRINGS])
def test_no_signed_url_and_no_endless_value_gets_into_a_fault(row: dict[str, Any]) -> None:
    for value in (SIGNED, [SIGNED], {"url": SIGNED}, "x" * 10_000, ["x" * 10_000]):
        for fault in check_one(row, value).faults:
            assert "SeCrEt" not in fault
            assert len(fault) < 500


@pytest.mark.parametrize("model_id", PACKAGED)
def test_the_defaults_of_every_packaged_record_pass_its_own_check(model_id: str) -> None:
    model = packaged(model_id)
    defaults = {one.name: one.default for one in model.inputs if one.default is not None}
    needed = {
        one.name: "asset_1" if one.is_file else "a calm sea"
        for one in model.inputs
        if one.is_required_with(defaults) and one.name not in defaults
    }
    assert check_inputs(model, {**defaults, **needed}) == CheckedInputs({**defaults, **needed})
    as_text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in defaults.items()}
    assert check_inputs(model, {**as_text, **needed}) == CheckedInputs({**defaults, **needed})
    assert {fault.partition(":")[0] for fault in check_inputs(model, {}).faults} == set(needed)


_texts = st.text() | st.sampled_from(
    ["", "None", "true", "no", "5", "5.5", "nan", "1e999", "asset_1", "[]", "['asset_1']", "[1, 2]", "(1,)", "data:x"]
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | _texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
_types = ["boolean", "file", "inputs_array", "model", "number", "string", "colour"]
_rules = st.dictionaries(
    st.sampled_from(["always", "ifDefined", "ifNotDefined", "conditional"]),
    st.booleans()
    | st.dictionaries(st.sampled_from(["a", "b", "seed"]), _json, max_size=2)
    | st.fixed_dictionaries({"values": _json, "operator": st.sampled_from(["and", "or"])}),
)
_rows = st.fixed_dictionaries(
    {"type": st.sampled_from(_types + [f"{name}_array" for name in _types])},
    optional={
        "required": _rules,
        "allowedValues": st.lists(st.integers(0, 9) | _texts, max_size=3),
        "min": st.integers(-5, 5) | st.floats(-5, 5),
        "max": st.integers(-5, 5) | st.floats(-5, 5),
        "minLength": st.integers(0, 5),
        "maxLength": st.integers(0, 5),
    },
)
_models = st.dictionaries(st.sampled_from(["a", "b", "seed", "refImageUrls"]), _rows).map(
    lambda rows: model_of(*({"name": name, **row} for name, row in rows.items()))
)
_given = st.dictionaries(st.sampled_from(["a", "b", "seed", "refImageUrls"]) | st.text(), _json)


@given(_models, _given)
def test_no_json_value_breaks_the_check_and_what_passes_once_passes_again_unchanged(
    model: Model, inputs: dict[str, Any]
) -> None:
    checked = check_inputs(model, inputs)
    assert all(isinstance(fault, str) and fault for fault in checked.faults)
    places = asset_ids(model, checked.values)
    assert all(isinstance(asset_id, str) for _, asset_id in places.values())
    if not checked.faults:
        json.dumps(checked.values, allow_nan=False)
        assert check_inputs(model, checked.values) == checked
        assert all(value is not None for value in checked.values.values())


@given(st.sampled_from(PACKAGED), st.data())
def test_packaged_models_stand_any_value_too(model_id: str, data: st.DataObject) -> None:
    model = packaged(model_id)
    inputs = data.draw(st.dictionaries(st.sampled_from([one.name for one in model.inputs]), _json))
    checked = check_inputs(model, inputs)
    if not checked.faults:
        assert check_inputs(model, checked.values) == checked


def test_the_assets_that_inputs_name_are_found_with_their_place() -> None:
    model = packaged(OUTPAINTING)
    known = {one.name: one for one in model.inputs}
    values = {"prompt": "asset_0", "videoUrl": "asset_1", "refImageUrls": ["asset_2", "asset_3"]}
    assert asset_ids(model, values) == {
        "videoUrl": (known["videoUrl"], "asset_1"),
        "refImageUrls[0]": (known["refImageUrls"], "asset_2"),
        "refImageUrls[1]": (known["refImageUrls"], "asset_3"),
    }
    assert asset_ids(model, {"videoUrl": "data:video/mp4;base64,AAAA", "refImageUrls": []}) == {}
    assert asset_ids(model, {"videoUrl": 7, "refImageUrls": "asset_2"}) == {}


AUDIO = ModelInput.read(
    {"name": "audio", "type": "file", "kind": "audio", "minDuration": 3, "maxDuration": 30, "maxSize": 15728640}
)


@pytest.mark.parametrize(
    ("asset", "faults"),
    [
        (Asset("asset_1", "", "audio", "audio/mpeg", duration=30.0, size=15728640), []),
        (Asset("asset_1", "", "audio", "audio/mpeg"), []),
        (Asset("asset_1", "", "audio", "audio/mpeg", AssetStatus.PENDING), []),
        (None, ["audio: there is no asset asset_1 in the project this API key belongs to."]),
        (
            Asset("asset_1", "", "audio", "audio/mpeg", AssetStatus.ERROR),
            ["audio: asset asset_1 is in error at Scenario; upload or make it again."],
        ),
        (
            Asset("asset_1", "", "video", "video/mp4"),
            ["audio: must be of kind audio, but asset_1 is of kind video."],
        ),
        (
            Asset("asset_1", "", "audio", "audio/mpeg", duration=30.08),
            ["audio: must last at most 30 s, asset_1 lasts 30.08 s."],
        ),
        (
            Asset("asset_1", "", "audio", "audio/mpeg", duration=2.5, size=15728641),
            [
                "audio: must last at least 3 s, asset_1 lasts 2.5 s.",
                "audio: must have at most 15,728,640 bytes, asset_1 has 15,728,641.",
            ],
        ),
    ],
)
def test_an_asset_is_checked_against_its_input(asset: Asset | None, faults: list[str]) -> None:
    assert list(check_asset("audio", AUDIO, "asset_1", asset)) == faults
