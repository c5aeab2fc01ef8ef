"""Checks what is to be bought against the model's record, before anything is paid."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.asset import Asset, AssetStatus
from airflow_provider_scenario.api.calls import Client
from airflow_provider_scenario.api.model import Model, packaged_model
from airflow_provider_scenario.api.validation import (
    asset_ids,
    check_asset,
)
from airflow_provider_scenario.api.values import CAME_OUT_EMPTY, is_no_value
from airflow_provider_scenario.exceptions import (
    ScenarioError,
    ScenarioInputError,
    ScenarioTransientError,
)

_LONGEST_PENDING = 300.0
"""Seconds to wait in a worker for an asset: its file is there in seconds, or something is wrong."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 10.0

_MOST_FAULTS_SHOWN = 20

_MATCH = ("matchInputNumFrames", "matchInputFramesPerSecond")

_LITTLE_SECONDS, _LITTLE_SHARE = 0.3, 0.05
"""What nobody misses of a clip: the larger of these seconds and this share of it."""


def read_model(client: Client, model_id: str, log: Any) -> Model:
    """Return a model's live record, or the packaged one if that can't be had."""
    if is_no_value(model_id):
        raise ScenarioInputError(
            f"model_id came out empty ({model_id!r}), {CAME_OUT_EMPTY}. Nothing was sent and nothing charged."
        )
    try:
        model = client.send(calls.get_model(model_id))
    except ScenarioError as error:
        packaged = packaged_model(model_id)
        if packaged is None or not isinstance(error, ScenarioTransientError):
            raise
        log.warning("%s Checking inputs against the packaged record of %s.", error, model_id)
        return packaged
    if model.successor:
        log.warning("Scenario has deprecated %s in favour of %s.", model.id, model.successor)
    return model


def check_assets(
    client: Client,
    model: Model,
    values: Mapping[str, Any],
    *,
    argument_name: Callable[[str], str],
    log: Any,
    sleep: Callable[[float], None] = time.sleep,  # May raise, to end the wait for a pending asset.
) -> Mapping[str, Asset]:
    """Return the assets that checked inputs name, by id, once none is pending; refuse every fault at once."""
    inputs = asset_ids(model, values)
    wanted = list(dict.fromkeys(asset_id for _, asset_id in inputs.values()))
    if not wanted:
        return {}
    deadline, pause = time.monotonic() + _LONGEST_PENDING, _FIRST_PAUSE
    while True:
        assets = client.send(calls.get_assets(wanted))
        faults = [
            fault
            for input_path, (spec, asset_id) in inputs.items()
            for fault in check_asset(input_path, spec, asset_id, assets.get(asset_id))
        ]
        refuse(model, faults, argument_name)
        # An asset that the task before has just made may be pending still.
        pending = [asset_id for asset_id in wanted if assets[asset_id].status is AssetStatus.PENDING]
        if not pending:
            return assets
        left = deadline - time.monotonic()
        if left <= 0:
            raise ScenarioTransientError(
                f"Still pending at Scenario after {_LONGEST_PENDING:.0f} s: {', '.join(pending)}. Nothing was bought. "
                "A retry looks again."
            )
        if pause == _FIRST_PAUSE:
            log.info("Waiting until Scenario has made %s: nothing is bought before.", ", ".join(pending))
        sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE)


@dataclass(frozen=True)
class Clip:
    """What is known of a clip that is to be worked on.

    :param duration: Seconds it plays; ``None`` if that isn't known.
    :param frame_rate: Frames a second; ``None`` if that isn't known.
    """

    name: str
    duration: float | None
    frame_rate: float | None = None


def length_note(
    model: Model, values: Mapping[str, Any], clip: Clip, *, argument_name: Callable[[str], str]
) -> str | None:
    """Return what the author must know before paying, if the result won't be as long as the clip; else ``None``."""
    # Only models that make a given number of frames of a clip have these inputs, as Outpainting and Reframe do.
    known = {one.name: one for one in model.inputs}
    if clip.duration is None or not known.keys() >= {"numFrames", "framesPerSecond", *_MATCH}:
        return None
    settings = {name: values.get(name, known[name].default) for name in ("numFrames", "framesPerSecond", *_MATCH)}
    matches_frames, matches_rate = (bool(settings[name]) for name in _MATCH)
    lasts = f"{clip.name} lasts {clip.duration:.3g} s"
    frames = clip.duration * clip.frame_rate if clip.frame_rate else None
    if matches_frames and frames is not None:
        least, most = known["numFrames"].minimum, known["numFrames"].maximum
        if (least is not None and round(frames) < least) or (most is not None and round(frames) > most):
            return (
                f"{lasts}, about {frames:.0f} frames. Scenario does not say whether it keeps the length of clips "
                f"outside the {least or 0:g} to {most or math.inf:g} frames of {argument_name('numFrames')}: compare "
                "the result's length."
            )
    if matches_frames and matches_rate:
        return None
    made = frames if matches_frames else settings["numFrames"]
    rate = clip.frame_rate if matches_rate else settings["framesPerSecond"]
    if not isinstance(made, int | float) or not isinstance(rate, int | float) or rate <= 0:
        return None
    result = made / rate
    if abs(result - clip.duration) <= max(_LITTLE_SECONDS, _LITTLE_SHARE * clip.duration):
        return None
    count = f"the clip's {made:.0f} frames" if matches_frames else f"{argument_name('numFrames')}={made:g}"
    at = "the clip's rate" if matches_rate else f"{rate:g}/s"
    is_cut = result < clip.duration and not matches_frames
    kept = f"only the first {result:.2g} s are kept" if is_cut else f"the result lasts {result:.2g} s"
    # An operator with arguments of its own for these inputs has one for both.
    names = [argument_name(name) for name in _MATCH]
    both = "keep_length=True" if names != list(_MATCH) else " and ".join(f"{name}=True" for name in names)
    return f"{lasts}; with {count} at {at} {kept}. Set {both} to keep {'all' if is_cut else 'its length'}."


def log_lengths(
    model: Model,
    values: Mapping[str, Any],
    assets: Mapping[str, Asset],
    log: Any,
    *,
    argument_name: Callable[[str], str],
    files: Mapping[str, Clip],  # What the files were that have become assets, by the asset's id.
) -> None:
    """Warn of each clip whose length the result won't have."""
    for one, asset_id in asset_ids(model, values).values():
        asset = assets.get(asset_id)
        if one.name != "videoUrl" or asset is None:
            continue
        file = files.get(asset_id) or Clip(asset_id, None)
        clip = Clip(file.name, asset.duration or file.duration, asset.frame_rate)
        if note := length_note(model, values, clip, argument_name=argument_name):
            log.warning(note)


def refuse(model: Model, faults: Sequence[str], argument_name: Callable[[str], str]) -> None:
    """Refuse inputs by all their faults, or the first 20: sentences that begin with the API's name of an input."""
    if faults:
        shown = [f"- {_with_argument_name(fault, argument_name)}" for fault in faults[:_MOST_FAULTS_SHOWN]]
        shown += [f"- and {len(faults) - len(shown)} more."] if len(faults) > len(shown) else []
        lines = "\n".join(shown)
        raise ScenarioInputError(
            f"The inputs of {model.name} can't be used, so nothing was sent and nothing charged:\n{lines}"
        )


def _with_argument_name(fault: str, argument_name: Callable[[str], str]) -> str:
    name = fault.partition(":")[0].partition("[")[0]
    return argument_name(name) + fault[len(name) :]
