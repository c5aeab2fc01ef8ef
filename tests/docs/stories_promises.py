"""What the pages of the promises show. Each is run for real: see ``stage.py``."""

from __future__ import annotations

import json

from tests.docs.stage import Stage, generating, raised, remembering, saving, story
from tests.task_run import TaskRun, deferral, resumed


@remembering
@story
def worker_dies(stage: Stage) -> str:
    stage.scenario.configure(job_seconds=60)
    run = TaskRun(has_store=True)
    stage.say("--- try 1")
    deferral(generating(deferrable=True), run.context)
    stage.say("--- the worker is killed; Airflow starts try 2")
    stage.scenario.finish_job(run.record["job_id"])
    generating(deferrable=True).execute(run.retry())
    stage.say(f"--- {stage.bill()}")
    return stage.told()


@remembering
@story
def reply_lost(stage: Stage) -> str:
    stage.scenario.add_fault("drop_after", method="POST", path="/generate/")
    generating().execute(TaskRun(has_store=True).context)
    stage.say(f"--- {stage.bill()}")
    return stage.told()


@story
def no_record(stage: Stage) -> str:
    stage.scenario.configure(job_seconds=60)
    run = TaskRun(has_store=False)
    stage.say("--- try 1, on an Airflow that keeps no record")
    generating(wait_for_completion=False).execute(run.context)
    stage.say("--- try 2")
    generating(wait_for_completion=False).execute(run.retry())
    stage.say(f"--- {stage.bill()}")
    return stage.told()


@remembering
@story
def cleared_while_running(stage: Stage) -> str:
    stage.scenario.configure(job_seconds=60)
    run = TaskRun(has_store=True)
    deferral(generating(deferrable=True), run.context)
    stage.said.lines.clear()
    deferral(generating(deferrable=True), run.clear())
    stage.say(f"--- {stage.bill()}")
    return stage.told()


@remembering
@story
def cleared_after_success(stage: Stage) -> str:
    run = TaskRun(has_store=True)
    generating().execute(run.context)
    stage.said.lines.clear()
    generating().execute(run.clear())
    return stage.said.lines[0]


@remembering
@story
def cleared_to_reuse(stage: Stage) -> str:
    run = TaskRun(has_store=True)
    generating(on_clear="reuse").execute(run.context)
    stage.said.lines.clear()
    generating(on_clear="reuse").execute(run.clear())
    return stage.said.lines[0]


@story
def crash_cases(stage: Stage) -> str:
    from tests.e2e.test_never_pay_twice import CRASHES, LOST_REPLIES

    rows = [
        f"{mode:<10}  {what:<13}  {name}"
        for what, cases in (("a worker dies", CRASHES), ("a reply is lost", LOST_REPLIES))
        for mode in ("deferrable", "blocking")
        for name in [", ".join(case.name for case in cases if case.mode == mode)]
    ]
    return "\n".join((f"{len(CRASHES)} deaths and {len(LOST_REPLIES)} lost replies, one run of a DAG each:", *rows))


@story
def file_cut(stage: Stage) -> str:
    asset_id = stage.scenario.make_asset(3_000_000)
    stage.scenario.add_fault({"type": "cut_body", "bytes": 1_000_000}, method="GET", path="^/(?!v1|sandbox)")
    saving(stage, asset_id).execute(TaskRun().context)
    return stage.told()


@story
def file_kept(stage: Stage) -> str:
    asset_id = stage.scenario.make_asset(3_000_000)
    run = TaskRun()
    stage.say("--- try 1")
    saving(stage, asset_id).execute(run.context)
    stage.say("--- try 2")
    run.retry()
    saving(stage, asset_id).execute(run.context)
    return stage.told()


@raised
def page_for_a_file(stage: Stage) -> None:
    asset_id = stage.scenario.make_asset(3_000_000)
    page = {"type": "status", "code": 200, "body": "<html>Sign in</html>", "headers": {"Content-Type": "text/html"}}
    stage.scenario.add_fault(page, method="GET", path="^/(?!v1|sandbox)", times=None)
    saving(stage, asset_id).execute(TaskRun().context)


@story
def manifest(stage: Stage) -> str:
    made = generating(inputs={"seed": 7}).execute(TaskRun().context)
    saving(stage, made["asset_ids"]).execute(TaskRun().context)
    return (stage.folder / "clips" / "manifest.json").read_text().replace(str(stage.folder), "/data")


@story
def waits_without_a_worker(stage: Stage) -> str:
    stage.scenario.configure(job_seconds=0.5)
    run = TaskRun()
    stage.say("--- worker")
    deferred = deferral(generating(deferrable=True), run.context)
    stage.say("--- triggerer, no worker held")
    resumed(generating(deferrable=True), deferred, run.context)
    return stage.told()


@story
def result(stage: Stage) -> str:
    return json.dumps(generating().execute(TaskRun().context), indent=2)
