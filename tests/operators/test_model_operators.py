"""An operator per model against the record of its model: names, order, defaults, documentation, what is sent."""

from __future__ import annotations

import datetime
import importlib
import inspect
import json
import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, BaseOperator, ObjectStoragePath, task
from airflow.sdk.definitions.mappedoperator import MappedOperator
from jinja2 import Undefined

from airflow_provider_scenario import operators
from airflow_provider_scenario.api.model import InputType, Model, ModelInput, packaged_model
from airflow_provider_scenario.arguments import plain_inputs
from airflow_provider_scenario.exceptions import ScenarioConfigurationError, ScenarioInputError
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.operators.model import ScenarioModelOperator
from airflow_provider_scenario.operators.wan import (
    ScenarioWan21TextToVideoOperator,
    ScenarioWan22ImageToVideoOperator,
    ScenarioWan22OutpaintingOperator,
    ScenarioWan22ReframeOperator,
    ScenarioWan25TextToVideoOperator,
)
from tests.task_run import TaskRun

if TYPE_CHECKING:
    from airflow_provider_scenario.sandbox.server import SandboxServer

OPERATORS: dict[type[ScenarioGenerateOperator], str] = {
    ScenarioWan21TextToVideoOperator: "model_wan-2-1-1-3b",
    ScenarioWan22ImageToVideoOperator: "model_wan-2-2-i2v-a14b",
    ScenarioWan25TextToVideoOperator: "model_wan-2-5-t2v",
    ScenarioWan22ReframeOperator: "model_wan-2-2-vace-fun-a14b-reframe",
    ScenarioWan22OutpaintingOperator: "model_wan-2-2-vace-fun-a14b-outpainting",
}
CLIP_OPERATORS = (ScenarioWan22ReframeOperator, ScenarioWan22OutpaintingOperator)
every_operator = pytest.mark.parametrize("operator", OPERATORS, ids=lambda one: one.__name__)


def record(operator: type[ScenarioGenerateOperator]) -> Model:
    model = packaged_model(OPERATORS[operator])
    assert model is not None
    return model


OWN_NAMES = {"videoUrl": "video", "refImageUrls": "reference_images"}
"""Arguments that are called otherwise than the API's input: each takes an asset or a file, and no URL."""


def argument_of(name: str) -> str:
    return OWN_NAMES.get(name) or re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


def arguments(operator: type[ScenarioGenerateOperator]) -> dict[str, inspect.Parameter]:
    own = inspect.signature(operator.__init__).parameters
    return {name: one for name, one in own.items() if one.kind is inspect.Parameter.KEYWORD_ONLY}


def documented(operator: type[ScenarioGenerateOperator]) -> dict[str, str]:
    text = inspect.cleandoc(operator.__doc__ or "")
    found = re.findall(r"^:param (\w+): (.*?)(?=^:|\Z)", text, re.DOTALL | re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in found}


def test_every_operator_is_tested() -> None:
    modules = [importlib.import_module(f"{operators.__name__}.{one.name}") for one in iter_modules(operators.__path__)]
    classes = [one for module in modules for one in vars(module).values() if isinstance(one, type)]
    defined = {one for one in classes if issubclass(one, ScenarioModelOperator)}
    assert {one for one in defined if hasattr(one, "model")} == set(OPERATORS)


@every_operator
def test_arguments_are_the_records_inputs_in_its_order(operator: type[ScenarioGenerateOperator]) -> None:
    inputs = [argument_of(one.name) for one in record(operator).inputs]
    assert list(operator.input_names) == inputs
    assert list(arguments(operator)) == [*inputs, *(["keep_length"] if operator in CLIP_OPERATORS else [])]


@every_operator
def test_defaults_are_the_records(operator: type[ScenarioGenerateOperator]) -> None:
    own = arguments(operator)
    for one in record(operator).inputs:
        default = own[argument_of(one.name)].default
        if one.required.get("always"):
            assert default is inspect.Parameter.empty, one.name
        elif isinstance(one.default, list):
            assert list(default) == one.default, one.name
        else:
            assert default == one.default, one.name
            assert isinstance(default, bool) is isinstance(one.default, bool), one.name


@every_operator
def test_each_input_is_documented_with_its_limits(operator: type[ScenarioGenerateOperator]) -> None:
    words = documented(operator)
    assert list(words) == [*arguments(operator), "kwargs"]
    for one in record(operator).inputs:
        said = words[argument_of(one.name)]
        for value in one.allowed_values:
            assert f'``"{value}"``' in said or f"``{value}``" in said, (one.name, value)
        if one.minimum is not None and one.maximum is not None:
            assert f"{one.minimum:g} to {one.maximum:g}" in said, one.name
        if one.default not in (None, []):
            shown = f'"{one.default}"' if isinstance(one.default, str) else one.default
            assert f"Default ``{shown}``" in said, one.name
        elif not one.required.get("always") and not one.is_file:
            assert "Default:" in said, one.name
        if one.longest is not None:
            assert f"at most {one.longest}" in said, one.name
        if one.longest_duration is not None:
            assert f"{one.shortest_duration:g} to {one.longest_duration:g} s" in said, one.name
        if one.is_file:
            assert str(one.kind) in said, one.name


@every_operator
def test_every_input_is_a_template_field(operator: type[ScenarioGenerateOperator]) -> None:
    assert operator.template_fields == (*arguments(operator), "scenario_conn_id", "project_id", "max_cost")
    assert set(operator.template_fields_renderers) <= set(operator.template_fields)


def example(one: ModelInput, ids: dict[str, str]) -> Any:
    """Give a value that is not the default."""
    if one.is_file:
        return [ids[str(one.kind)]] if one.type is InputType.FILE_ARRAY else ids[str(one.kind)]
    if one.allowed_values:
        return one.allowed_values[-1]
    if one.type is InputType.BOOLEAN:
        return not one.default
    if one.type is InputType.NUMBER:
        return 4321 if one.maximum is None else one.maximum
    return f"some {one.name}"


@every_operator
@pytest.mark.parametrize("how", ["plain", "as text", "as text, natively"])
def test_sends_the_inputs_by_the_records_names(
    scenario: SandboxServer, video_id: str, image_id: str, operator: type[ScenarioGenerateOperator], how: str
) -> None:
    ids = {"video": video_id, "image": image_id}
    values = {one.name: example(one, ids) for one in record(operator).inputs if one.kind != "audio"}
    given = {argument_of(name): value for name, value in values.items()}
    with DAG("wan", schedule=None, render_template_as_native_obj=how.endswith("natively")):
        if how == "plain":
            made = operator(task_id="make", wait_for_completion=False, **given)
        else:
            templates = {name: f"{{{{ values['{name}'] }}}}" for name in given}
            made = operator(task_id="make", wait_for_completion=False, **templates)
    run = TaskRun()
    made.render_template_fields({**run.context, "values": given})
    made.execute(run.context)
    (entry,) = scenario.ledger()["entries"]
    assert entry["modelId"] == OPERATORS[operator]
    assert entry["inputs"] == values
    for name, value in values.items():
        assert isinstance(entry["inputs"][name], bool) is isinstance(value, bool)


@every_operator
def test_sends_the_defaults_and_a_seed(
    scenario: SandboxServer, video_id: str, operator: type[ScenarioGenerateOperator]
) -> None:
    inputs = record(operator).inputs
    needed = {one.name: video_id if one.is_file else "A boat" for one in inputs if one.required.get("always")}
    made = operator(
        task_id="make", wait_for_completion=False, **{argument_of(name): value for name, value in needed.items()}
    )
    result = made.execute(TaskRun().context)
    sent = scenario.ledger()["entries"][0]["inputs"]
    defaults = {one.name: one.default for one in inputs if one.default is not None}
    assert sent == {**defaults, **needed, "seed": result["seed"]}


def test_a_first_frame_is_needed_with_a_last_one(scenario: SandboxServer, image_id: str) -> None:
    made = ScenarioWan22ImageToVideoOperator(task_id="make", prompt="x", last_frame_image=image_id)
    with pytest.raises(ScenarioInputError, match=r"- image: is required. A first frame is needed"):
        made.execute(TaskRun().context)
    assert scenario.ledger()["totals"]["jobs"] == 0


def test_audio_is_checked_before_paying(scenario: SandboxServer, video_id: str) -> None:
    made = ScenarioWan25TextToVideoOperator(task_id="make", prompt="x", audio=video_id)
    with pytest.raises(ScenarioInputError, match="- audio: must be of kind audio"):
        made.execute(TaskRun().context)
    assert scenario.ledger()["totals"]["jobs"] == 0


@every_operator
@pytest.mark.parametrize("extra", [{"inputs": {"prompt": "x"}}, {"model_id": "model_other"}])
def test_inputs_can_not_be_slipped_in_unheard(operator: type[ScenarioGenerateOperator], extra: dict[str, Any]) -> None:
    """They would be dropped in silence, and the job paid without them."""
    given = dict.fromkeys((name for name, one in arguments(operator).items() if one.default is one.empty), "x")
    with pytest.raises(TypeError, match="takes each input as an argument of its own"):
        operator(task_id="make", **given, **extra)


@every_operator
def test_a_missing_argument_breaks_the_dag(operator: type[ScenarioGenerateOperator]) -> None:
    with pytest.raises(TypeError, match="missing keyword argument"):
        operator(task_id="make")


def test_an_argument_that_does_not_exist_breaks_the_dag() -> None:
    with pytest.raises(TypeError, match="expand_ration"):
        ScenarioWan22OutpaintingOperator(task_id="make", prompt="x", video="asset_x", expand_ration=0.5)


def test_an_authors_subclass_keeps_the_inputs(scenario: SandboxServer) -> None:
    class Branded(ScenarioWan21TextToVideoOperator):
        def __init__(self, *, brand: str, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.brand = brand

    Branded(task_id="make", brand="Acme", prompt="A boat", wait_for_completion=False).execute(TaskRun().context)
    sent = scenario.ledger()["entries"][0]["inputs"]
    assert sent["prompt"] == "A boat"
    assert "brand" not in sent


def upstream(operator: BaseOperator | MappedOperator) -> set[str]:
    return set(operator.upstream_task_ids)


def test_outputs_of_other_tasks_are_inputs() -> None:
    with DAG("chain", schedule=None):

        @task
        def clip() -> str:
            return "asset_clip"

        first = ScenarioWan22OutpaintingOperator(task_id="first", prompt="x", video=clip())
        second = ScenarioWan22ReframeOperator(task_id="second", video=first.output["asset_id"])
        third = ScenarioGenerateOperator(
            task_id="third",
            model_id="model_wan-2-2-i2v-a14b",
            inputs={"prompt": "x", "image": first.output["asset_id"], "deep": {"list": [second.output["seed"]]}},
        )
    assert upstream(first) == {"clip"}
    assert upstream(second) == {"first"}
    assert upstream(third) == {"first", "second"}


@every_operator
def test_can_be_mapped(operator: type[ScenarioGenerateOperator]) -> None:
    own = arguments(operator)
    needed = [name for name, one in own.items() if one.default is one.empty]
    with DAG("mapped", schedule=None) as dag:

        @task
        def values() -> list[str]:
            return ["one", "two"]

        given = dict.fromkeys(needed[1:], "x")
        mapped = operator.partial(task_id="many", deferrable=True, timeout=60, capacity_timeout=60, **given).expand(
            **{needed[0]: values()}, seed=[1, 2]
        )
        operator.partial(task_id="more", **dict.fromkeys(needed, "x")).expand(scenario_conn_id=["one", "two"])
    assert isinstance(mapped, MappedOperator)
    assert upstream(mapped) == {"values"}
    one = mapped.unmap({needed[0]: "one", "seed": 2})
    assert isinstance(one, operator)
    assert one.api_inputs()["seed"] == 2
    assert (one.deferrable, one.multiple_outputs, dag.has_task("more")) == (True, True, True)


def test_mapped_outputs_feed_the_next() -> None:
    with DAG("fan", schedule=None):
        many = ScenarioWan22ReframeOperator.partial(task_id="many", video="asset_clip").expand(
            aspect_ratio=["16:9", "9:16"]
        )
        next_one = ScenarioWan22ReframeOperator.partial(task_id="next").expand(
            video=many.output.map(lambda made: made["asset_id"])
        )
    assert upstream(next_one) == {"many"}


@pytest.mark.parametrize("operator", CLIP_OPERATORS)
@pytest.mark.parametrize(
    ("keep", "kept"),
    [(True, True), ("True", True), (" true ", True), (False, False), ("False", False), ("None", False), (None, False)],
)
def test_keep_length_sets_what_keeps_all_of_a_clip(
    scenario: SandboxServer, video_id: str, operator: type[ScenarioGenerateOperator], keep: Any, kept: bool
) -> None:
    made = operator(
        task_id="make", prompt="x", video=video_id, keep_length=keep, num_frames=100, wait_for_completion=False
    )
    made.execute(TaskRun().context)
    sent = scenario.ledger()["entries"][0]["inputs"]
    assert (sent["matchInputNumFrames"], sent["matchInputFramesPerSecond"]) == (kept, kept)
    assert "keepLength" not in sent


def test_keep_length_that_is_no_truth_is_refused(scenario: SandboxServer, video_id: str) -> None:
    with pytest.raises(ScenarioInputError, match="keep_length must be true or false, not 'all of it'"):
        ScenarioWan22ReframeOperator(task_id="make", video=video_id, keep_length="all of it").execute(TaskRun().context)
    assert scenario.ledger()["totals"]["jobs"] == 0


@pytest.mark.parametrize("empty", ["None", "null", "", "  "])
def test_a_prompt_that_came_out_empty_is_never_bought(scenario: SandboxServer, empty: str) -> None:
    with pytest.raises(ScenarioInputError, match="- prompt: is required, but came out empty"):
        ScenarioWan21TextToVideoOperator(task_id="make", prompt=empty).execute(TaskRun().context)
    assert scenario.ledger()["totals"]["jobs"] == 0


def test_what_may_be_left_out_and_came_out_empty_is_left_out(scenario: SandboxServer) -> None:
    ScenarioWan25TextToVideoOperator(
        task_id="make",
        prompt="A boat",
        negative_prompt="None",
        audio="null",
        seed="None",  # type: ignore[arg-type]
        project_id="None",
        wait_for_completion=False,
    ).execute(TaskRun().context)
    sent = scenario.ledger()["entries"][0]["inputs"]
    assert "negativePrompt" not in sent
    assert "audio" not in sent
    assert isinstance(sent["seed"], int)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        (name, value)
        for name in ("timeout", "capacity_timeout", "poll_interval")
        for value in (0, -1, 1e14, "1e14", float("nan"), float("inf"), "nan", "soon", True, None)
    ]
    + [
        ("timeout", datetime.timedelta(days=31)),
        ("timeout", datetime.timedelta.max),
        ("capacity_timeout", 30 * 86400 + 1),
        ("poll_interval", 3601),
        ("poll_interval", datetime.timedelta(hours=2)),
    ],
)
def test_times_have_bounds_when_the_dag_is_parsed(argument: str, value: Any) -> None:
    with pytest.raises(ScenarioConfigurationError, match=f"{argument} must be a number of seconds"):
        ScenarioWan21TextToVideoOperator(task_id="make", prompt="x", **{argument: value})


def test_times_at_their_bounds() -> None:
    made = ScenarioWan21TextToVideoOperator(
        task_id="make", prompt="x", timeout=datetime.timedelta(days=30), poll_interval="3600", capacity_timeout=0.1
    )
    assert (made.timeout, made.poll_interval, made.capacity_timeout) == (2592000.0, 3600.0, 0.1)


def test_a_connection_that_came_out_empty_is_not_the_default_one(scenario: SandboxServer) -> None:
    with pytest.raises(ScenarioConfigurationError, match="scenario_conn_id came out empty \\('None'\\)"):
        ScenarioWan21TextToVideoOperator(task_id="make", prompt="x", scenario_conn_id="None").execute(TaskRun().context)
    assert scenario.ledger()["totals"]["jobs"] == 0


def test_a_file_has_one_form_in_what_is_compared() -> None:
    forms = [
        "/data/a b.mp4",
        "file:///data/a b.mp4",
        "file://localhost/data/a b.mp4",
        "FILE:///data/a b.mp4",
        "local:///data/a b.mp4",
    ]
    given = [*forms, PurePosixPath("/data/a b.mp4"), *map(ObjectStoragePath, forms[:2])]
    assert {plain_inputs(one) for one in given} == {"/data/a b.mp4"}
    assert plain_inputs({"a": [given[-1]], "b": ({"c": given[1]},)}) == {
        "a": ["/data/a b.mp4"],
        "b": [{"c": "/data/a b.mp4"}],
    }
    for text in ("s3://conn@bucket/a", "file://other/a", "asset_1", "see file:///a", "file://localhostess/a"):
        assert plain_inputs(text) == text


def test_what_is_compared_is_plain_json() -> None:
    given = {"seed": Decimal(7), "zoom": Decimal("0.1"), "list": (Fraction(1, 2), True), "gone": Undefined()}
    assert json.dumps(plain_inputs(given)) == '{"seed": 7, "zoom": 0.1, "list": [0.5, true], "gone": null}'


def test_a_sequence_of_any_kind_is_a_list(scenario: SandboxServer, video_id: str, image_id: str) -> None:
    images: Sequence[str] = (image_id, image_id)
    ScenarioWan22OutpaintingOperator(
        task_id="make", prompt="x", video=video_id, reference_images=images, wait_for_completion=False
    ).execute(TaskRun().context)
    assert scenario.ledger()["entries"][0]["inputs"]["refImageUrls"] == [image_id, image_id]
