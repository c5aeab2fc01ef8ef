"""The example DAGs, parsed as Airflow's DAG processor parses them. That they run is shown in tests/e2e."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from types import SimpleNamespace

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import DAG, ObjectStoragePath

from tests.this_airflow import dag_serialization
from tests.transfers import conftest

s3_address, s3_bucket = conftest.s3_address, conftest.s3_bucket

EXAMPLES = sorted((Path(__file__).parents[1] / "dags_examples").glob("*.py"))


def parsed(file: Path) -> DAG:
    """Import a file, and give its one DAG."""
    spec = importlib.util.spec_from_file_location(f"example_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spec.loader.exec_module(module)
    (dag,) = {id(one): one for one in vars(module).values() if isinstance(one, DAG)}.values() or [_last_dag(module)]
    return dag


def _last_dag(module: object) -> DAG:
    """Give the DAG of a file that has no name for it."""
    tasks = [one for one in vars(module).values() if hasattr(one, "dag") and hasattr(one, "task_id")]
    return next(iter({id(one.dag): one.dag for one in tasks}.values()))


def test_the_examples_are_all_here() -> None:
    assert [file.stem for file in EXAMPLES] == [
        "any_model",
        "approve_before_paying",
        "approve_before_publishing",
        "image_to_video",
        "night_within_budget",
        "nightly_clips",
        "outpaint_then_reframe",
        "page_for_new_videos",
        "reframe_for_every_screen",
        "text_to_video",
    ]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_parses_and_is_ready_to_use(file: Path) -> None:
    dag = parsed(file)
    assert dag.dag_id == file.stem
    assert dag.doc_md
    assert "scenario" in dag.tags
    assert all(task.retries >= 1 for task in dag.tasks)
    assert dag.description
    for name in dag.params:
        param = dag.params.get_param(name)
        assert param.resolve() is not None, f"{name} has no default"
        assert param.schema.get("title"), f"{name} has no title"
        assert param.description or param.schema.get("description"), f"{name} has no description"
        assert param.schema.get("type"), f"{name} has no type"
    assert "destination" in dag.params or dag.dag_id in ("page_for_new_videos", "nightly_clips")


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_survives_airflows_database(file: Path) -> None:
    dag = parsed(file)
    stored = dag_serialization().from_dict(dag_serialization().to_dict(dag))
    assert sorted(stored.task_ids) == sorted(dag.task_ids)


def test_every_example_keeps_the_length_of_a_clip() -> None:
    tasks = [task for file in EXAMPLES for task in parsed(file).tasks]
    changing = [task for task in tasks if "Reframe" in task.task_type or "Outpaint" in task.task_type]
    assert len(changing) == 7
    for task in changing:
        assert (getattr(task, "partial_kwargs", None) or vars(task))["keep_length"] is True


def test_mapped_siblings_bear_one_name_even_where_airflow_knows_no_inputs_of_theirs() -> None:
    """Airflow 3.1.0 renders the name after the job, when the task's own inputs are not filled in: it may not fail."""
    wanted = {
        "night_within_budget": ["A fox in the snow", "A kite over the sea", "Rain on a tin roof"],
        "reframe_for_every_screen": ["16:9", "1:1", "9:16"],
    }
    for file in (one for one in EXAMPLES if one.stem in wanted):
        dag = parsed(file)
        environment = dag.get_template_env()
        named = [task for task in dag.tasks if task.task_id in ("generate", "reframe", "save")]
        assert len(named) == 2
        for task in named:
            template = environment.from_string(task.map_index_template)
            names = [
                template.render(params=dag.params.dump(), task=task, ti=SimpleNamespace(map_index=index))
                for index in range(3)
            ]
            assert names == wanted[file.stem], task.task_id


def test_no_example_lets_whoever_triggers_it_choose_the_folder() -> None:
    """A param names a folder below a root that the DAG's author fixed."""
    tasks = [
        task for file in EXAMPLES for task in parsed(file).tasks if task.task_type.endswith("ToObjectStorageOperator")
    ]
    assert len(tasks) >= 8
    for task in tasks:
        given = getattr(task, "partial_kwargs", None) or vars(task)
        assert given["root"] == "file:///var/lib/videos"


def test_the_main_job_is_a_chain() -> None:
    (file,) = [one for one in EXAMPLES if one.stem == "outpaint_then_reframe"]
    dag = parsed(file)
    follows = {task.task_id: set(task.upstream_task_ids) for task in dag.tasks}
    assert follows == {
        "upload": set(),
        "outpaint": {"upload"},
        "wait_for_outpaint": {"outpaint"},
        "reframe": {"wait_for_outpaint"},
        "wait_for_reframe": {"reframe"},
        "save": {"wait_for_reframe"},
    }


def test_the_nightly_example_works_on_a_bucket(s3_bucket: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENARIO_VIDEOS", str(s3_bucket))
    (file,) = [one for one in EXAMPLES if one.stem == "nightly_clips"]
    dag = parsed(file)
    for name in ("b {1}.mp4", "a.MOV", "notes.txt"):
        (s3_bucket / "new" / name).write_bytes(b"of today")
    (s3_bucket / "new" / "old" / "c.mp4").write_bytes(b"in a folder")
    midnight = pendulum.now("UTC").start_of("day").add(days=1)
    ds, params = midnight.to_date_string(), {"budget": "80"}
    new_clips = dag.get_task("new_clips").python_callable
    found = new_clips(ds, midnight, params)
    found.sort(key=lambda one: one["video"])
    assert found == [
        {"video": f"{s3_bucket}/new/{name}", "folder": f"{s3_bucket}/nightly/{ds}/{folder}", "max_cost": "10"}
        for name, folder in (("a.MOV", "a.MOV"), ("b {1}.mp4", "b%20%7B1%7D.mp4"))
    ]
    assert new_clips(ds, midnight.subtract(days=1), params) == []

    unless_saved = dag.get_task("clip.unless_saved").python_callable
    folder = found[0]["folder"]
    assert unless_saved("a clip", folder) == "a clip"
    for name in ("wide", "tv", "square", "phone"):
        saved = {"uri": f"{folder}/asset_{name}.mp4", "width": 16, "height": 9, "duration": 2.0}
        manifest = {"files": [saved], "jobs": [{"cost": "1.25"}]}
        (ObjectStoragePath(folder) / f"{name}.json").write_text(json.dumps(manifest))
    with pytest.raises(AirflowSkipException):
        unless_saved("a clip", folder)

    monkeypatch.setitem(dag.get_task("write_page").python_callable.__globals__, "get_run_cost", lambda: "nothing")
    page = ObjectStoragePath(dag.get_task("write_page").python_callable(ds))
    assert page.read_text().count("<video") == 4
    assert "4 videos, 5.00 creative units. This run: nothing." in page.read_text()
    assert page.fs.info(page.path)["ContentType"] == "text/html"
