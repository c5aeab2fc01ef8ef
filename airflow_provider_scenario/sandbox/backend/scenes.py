"""Prompts that play scenes: words in a prompt that decide how its job goes.

====================  =================================================================================
in the prompt         what happens
====================  =================================================================================
forbidden             the job fails; error and hint name moderation
[fail]                the job fails for no reason of the caller's
[fail no refund]      the same, and the money is kept
[cancel]              the job ends canceled
[stuck]               the job stays in progress for good
[slow]                the job takes ten times as long
[two outputs]         the job has two videos
[thumbnail first]     the job's assetIds name a picture before the video
[broken output]       the output asset has the status error
====================  =================================================================================

``forbidden`` counts as a whole word in any case; the others stand in square brackets as shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from airflow_provider_scenario.sandbox.backend.timeline import CANCELED, FAILURE, SUCCESS


@dataclass(frozen=True, slots=True)
class Scene:
    """How a job will go."""

    ending: str | None = SUCCESS
    """The last status; None: the job never ends."""
    error: str | None = None
    hint: str | None = None
    refunded: bool = True
    slowness: float = 1
    outputs: tuple[str, ...] = ("video",)
    """The kinds of the outputs, in order."""
    output_status: str = "success"


MODERATED = Scene(
    FAILURE,
    "The request was blocked by content moderation.",
    "The prompt or an input was flagged as sensitive content. Change the prompt and try again.",
)
BROKEN = Scene(
    FAILURE,
    "The model could not generate the video.",
    "This is a problem on the provider's side. Try again later.",
)


def scene(prompt: str) -> Scene:
    """Give the scene that a prompt plays."""
    if re.search(r"\bforbidden\b", prompt, re.IGNORECASE):
        return MODERATED
    if "[fail]" in prompt:
        return BROKEN
    if "[fail no refund]" in prompt:
        return Scene(FAILURE, BROKEN.error, BROKEN.hint, refunded=False)
    if "[cancel]" in prompt:
        return Scene(CANCELED, "The job was canceled.", None)
    if "[stuck]" in prompt:
        return Scene(None)
    outputs: tuple[str, ...] = ("video", "video") if "[two outputs]" in prompt else ("video",)
    return Scene(
        slowness=10 if "[slow]" in prompt else 1,
        outputs=("image", *outputs) if "[thumbnail first]" in prompt else outputs,
        output_status="error" if "[broken output]" in prompt else "success",
    )
