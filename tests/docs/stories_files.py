"""What wrong inputs and files say. Each is run for real: see ``stage.py``."""

from __future__ import annotations

from airflow_provider_scenario.sensors.job import ScenarioJobSensor
from tests.docs.stage import Stage, generating, raised, reframing, saving, story
from tests.task_run import TaskRun


@raised
def out_of_range(stage: Stage) -> None:
    generating(inputs={"frameNum": 50}).execute(TaskRun().context)


@raised
def unknown_input(stage: Stage) -> None:
    generating(inputs={"duration": 5}).execute(TaskRun().context)


@raised
def empty_prompt(stage: Stage) -> None:
    generating(prompt="None").execute(TaskRun().context)


@raised
def no_such_file(stage: Stage) -> None:
    reframing(stage.folder / "no-such-clip.mp4").execute(TaskRun().context)


@raised
def cut_file(stage: Stage) -> None:
    clip = stage.clip(seconds=2, width=320, height=180)
    clip.write_bytes(clip.read_bytes()[:3000])
    reframing(clip).execute(TaskRun().context)


@raised
def a_text(stage: Stage) -> None:
    (stage.folder / "clip.mp4").write_text("This is no video.")
    reframing(stage.folder / "clip.mp4").execute(TaskRun().context)


@story
def shorter_than_the_clip(stage: Stage) -> str:
    reframing(stage.clip(seconds=12), wait_for_completion=False).execute(TaskRun().context)
    return next(line for line in stage.said.lines if line.startswith("WARNING"))


@raised
def outside_root(stage: Stage) -> None:
    asset_id = stage.scenario.make_asset(20_000)
    root = (stage.folder / "clips").as_uri()
    saving(stage, asset_id, destination="../elsewhere", root=root).execute(TaskRun().context)


@raised
def nothing_to_save(stage: Stage) -> None:
    saving(stage, None).execute(TaskRun().context)


@raised
def s3_without_its_provider(stage: Stage) -> None:
    asset_id = stage.scenario.make_asset(20_000)
    saving(stage, asset_id, destination="gs://bucket/clips").execute(TaskRun().context)


@raised
def xcom_for_start_from_trigger(stage: Stage) -> None:
    ScenarioJobSensor(
        task_id="wait", job_id="{{ ti.xcom_pull(task_ids='generate', key='job_id') }}", start_from_trigger=True
    )
