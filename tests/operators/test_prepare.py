"""What is told and waited for before paying: a clip's length, and assets that are still being made."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_scenario.api.asset import Asset, AssetStatus
from airflow_provider_scenario.api.model import Model, packaged_model
from airflow_provider_scenario.exceptions import ScenarioInputError, ScenarioTransientError
from airflow_provider_scenario.operators.generate import ScenarioGenerateOperator
from airflow_provider_scenario.operators.wan import ScenarioWan22ReframeOperator
from airflow_provider_scenario.sandbox.clip import draw_clip
from airflow_provider_scenario.submission.prepare import Clip, check_assets, length_note, read_model
from tests.task_run import TaskRun

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_scenario.sandbox.server import SandboxServer

REFRAME = "model_wan-2-2-vace-fun-a14b-reframe"
BOTH = {"matchInputNumFrames": True, "matchInputFramesPerSecond": True}


def reframe() -> Model:
    model = packaged_model(REFRAME)
    assert model is not None
    return model


def note(duration: float | None, rate: float | None = None, **values: Any) -> str | None:
    return length_note(reframe(), values, Clip("beach.mp4", duration, rate), argument_name=ours)


def ours(name: str) -> str:
    return {"numFrames": "num_frames", "matchInputNumFrames": "match_input_num_frames"}.get(name, name)


# --- A clip's length


@pytest.mark.parametrize(
    ("duration", "rate", "values", "says"),
    [
        (
            12,
            24,
            {},
            "lasts 12 s; with num_frames=81 at 16/s only the first 5.1 s are kept. Set keep_length=True to keep",
        ),
        (12, None, {"numFrames": 160}, "with num_frames=160 at 16/s only the first 10 s are kept."),
        (
            12,
            None,
            {"numFrames": 81, "framesPerSecond": 30},
            "with num_frames=81 at 30/s only the first 2.7 s are kept.",
        ),
        (2, None, {}, "with num_frames=81 at 16/s the result lasts 5.1 s. Set keep_length=True to keep its length."),
        (4, 24, {"matchInputNumFrames": True}, "with the clip's 96 frames at 16/s the result lasts 6 s."),
        (
            12,
            24,
            {"matchInputFramesPerSecond": True},
            "num_frames=81 at the clip's rate only the first 3.4 s are kept.",
        ),
        (
            12,
            25,
            BOTH,
            "lasts 12 s, about 300 frames. Scenario does not say whether it keeps the length of clips outside",
        ),
        (2, 24, BOTH, "lasts 2 s, about 48 frames. Scenario does not say"),
    ],
)
def test_what_is_not_kept_is_told(duration: float, rate: float | None, values: dict[str, Any], says: str) -> None:
    said = note(duration, rate, **values)
    assert said is not None
    assert said.startswith("beach.mp4 lasts")
    assert says in said


@pytest.mark.parametrize(
    ("duration", "rate", "values"),
    [
        (None, None, {}),
        (5, 24, {}),
        (5.0625, None, {}),
        (5.3, None, {}),
        (10, None, {"numFrames": 160}),
        (8, 24, BOTH),
        (12, None, BOTH),
        (12, None, {"matchInputNumFrames": True}),
        (12, None, {"matchInputFramesPerSecond": True}),
    ],
)
def test_what_is_kept_or_not_known_needs_no_word(
    duration: float | None, rate: float | None, values: dict[str, Any]
) -> None:
    assert note(duration, rate, **values) is None


def test_a_model_that_makes_no_number_of_frames_needs_no_word() -> None:
    model = packaged_model("model_wan-2-2-14b-animate-move")
    assert model is not None
    assert length_note(model, {}, Clip("beach.mp4", 12), argument_name=ours) is None


def test_any_models_operator_is_told_the_apis_names() -> None:
    said = length_note(reframe(), {}, Clip("beach.mp4", 12), argument_name=str)
    assert said is not None
    assert said.endswith("Set matchInputNumFrames=True and matchInputFramesPerSecond=True to keep all.")


@pytest.mark.parametrize("given", ["file", "asset", "any model"])
def test_a_long_clip_is_told_of_before_paying(
    scenario: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    clip = draw_clip(tmp_path / "beach.mp4", seconds=7, width=64, height=64, frames_per_second=8)
    operator: ScenarioGenerateOperator = ScenarioWan22ReframeOperator(
        task_id="make", video=str(clip), wait_for_completion=False
    )
    if given != "file":
        operator.execute(TaskRun(task_id="earlier").context)
        asset_id = scenario.ledger()["entries"][0]["inputs"]["videoUrl"]
        capsys.readouterr()
    if given == "asset":
        operator = ScenarioWan22ReframeOperator(task_id="make", video=asset_id, wait_for_completion=False)
    elif given == "any model":
        inputs = {"videoUrl": asset_id}
        operator = ScenarioGenerateOperator(task_id="make", model_id=REFRAME, inputs=inputs, wait_for_completion=False)
    operator.execute(TaskRun().context)
    printed = capsys.readouterr()
    lines = [line for line in (printed.out + printed.err).splitlines() if "only the first 5.1 s are kept" in line]
    assert len(lines) == 1
    assert ("beach.mp4 lasts 7 s" if given == "file" else f"{operator_asset(operator)} lasts 7 s") in lines[0]


def operator_asset(operator: ScenarioGenerateOperator) -> str:
    return str(operator.api_inputs()["videoUrl"])


# --- Assets that are still being made


class Scripted:
    """A client whose asset is in one status after another; and a clock that its pauses move."""

    def __init__(self, *statuses: AssetStatus) -> None:
        self.statuses = list(statuses)
        self.now = 0.0
        self.pauses: list[float] = []

    def send(self, call: Any) -> Any:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {"asset_1": Asset("asset_1", "", "video", "video/mp4", status)}

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def check(self) -> Any:
        log = logging.getLogger(__name__)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("airflow_provider_scenario.submission.prepare.time.monotonic", self.clock)
            return check_assets(self, reframe(), {"videoUrl": "asset_1"}, argument_name=str, log=log, sleep=self.sleep)


def test_a_pending_asset_is_waited_for_with_longer_and_longer_pauses() -> None:
    client = Scripted(*[AssetStatus.PENDING] * 8, AssetStatus.SUCCESS)
    assert client.check()["asset_1"].status is AssetStatus.SUCCESS
    assert client.pauses[0] == 1
    assert sorted(client.pauses) == client.pauses
    assert max(client.pauses) == 10


def test_an_asset_that_ends_in_error_is_refused() -> None:
    with pytest.raises(ScenarioInputError, match="asset asset_1 is in error"):
        Scripted(AssetStatus.PENDING, AssetStatus.ERROR).check()


def test_an_asset_that_stays_pending_is_a_transient_error() -> None:
    client = Scripted(AssetStatus.PENDING)
    with pytest.raises(ScenarioTransientError, match=r"after 300 s: asset_1\. Nothing was bought") as caught:
        client.check()
    assert client.now == 300
    assert not isinstance(caught.value, ScenarioInputError)


def test_a_ready_asset_is_read_once() -> None:
    client = Scripted(AssetStatus.SUCCESS)
    client.check()
    assert client.pauses == []


def test_the_task_before_has_just_made_it(scenario: SandboxServer) -> None:
    scenario.configure(asset_pending_seconds=1.5, job_seconds=0)
    first = ScenarioGenerateOperator(
        task_id="one", model_id="model_wan-2-1-1-3b", inputs={"prompt": "x"}, poll_interval=0.1
    ).execute(TaskRun().context)
    second = ScenarioWan22ReframeOperator(task_id="two", video=first["asset_id"], wait_for_completion=False)
    assert second.execute(TaskRun().context)["job_id"].startswith("job_")
    assert scenario.ledger()["totals"]["jobs"] == 2


# --- The model itself


@pytest.mark.parametrize("empty", ["", "None", "null", " \n", None])
def test_a_model_id_that_came_out_empty_is_refused(empty: Any) -> None:
    with pytest.raises(ScenarioInputError, match="model_id came out empty"):
        read_model(Scripted(AssetStatus.SUCCESS), empty, None)
