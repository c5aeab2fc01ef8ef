"""Every block of every page runs, or is parsed by what it is for."""

from __future__ import annotations

import configparser
import contextlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
from airflow.sdk import DAG

from airflow_provider_scenario.hooks.scenario import ScenarioHook
from tests.docs.pages import PAGES, REFERENCE, REPOSITORY, Block, blocks_of
from tests.sandbox_fixtures import scenario
from tests.this_airflow import dag_serialization, has_retry_policies

__all__ = ["scenario"]

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
SIGNATURE = re.compile(r"(async )?\w+\(")


def of(*languages: str) -> pytest.MarkDecorator:
    chosen = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", chosen, ids=[block.id for block in chosen])


def test_no_block_is_of_an_unknown_kind() -> None:
    known = {"python", "bash", "json", "ini", "text"}
    assert {block.id for block in BLOCKS if block.language not in known} == set()


# --- Python


@of("python")
@pytest.mark.usefixtures("scenario")
def test_python(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A DAG file is parsed as Airflow does, and survives its database; other code is run."""
    if block.page in REFERENCE:
        compile(block.text, block.id, "exec")
        return
    needs_new = "start_from_trigger" in block.text and not has_retry_policies()
    monkeypatch.chdir(tmp_path)
    dags = [] if needs_new else dags_of(block.text, tmp_path)
    if "with DAG(" in block.text and not needs_new:
        assert dags, "the block makes no DAG"
        for dag in dags:
            assert dag.tasks
            stored = dag_serialization().from_dict(dag_serialization().to_dict(dag))
            assert sorted(stored.task_ids) == sorted(dag.task_ids)


def dags_of(code: str, folder: Path) -> list[DAG]:
    """Run a block, and return the DAGs that it made."""
    path = folder / "page_block.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location("page_block", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    made: list[DAG] = []
    init = DAG.__enter__

    def entered(self: DAG) -> DAG:
        made.append(self)
        return init(self)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(DAG, "__enter__", entered)
        spec.loader.exec_module(module)
    return made


# --- What is shown


@of("text")
def test_output_is_seen_somewhere(block: Block) -> None:
    """A test compares it with what was seen; a page of docstrings shows signatures."""
    if block.page in REFERENCE:
        assert SIGNATURE.match(block.text)
        return
    lines = block.page.read_text().splitlines()
    before = " ".join(lines[max(0, block.line - 3) : block.line - 1])
    assert re.search(r"<!-- (seen(: \w+| in: [\w ]+)|connection) -->", before), block.id


# --- JSON, INI, connections


@of("json")
def test_json(block: Block) -> None:
    json.loads(block.text)


@of("ini")
def test_ini(block: Block) -> None:
    from airflow.configuration import conf

    parsed = configparser.ConfigParser()
    parsed.read_string(block.text)
    for section in parsed.sections():
        for option in parsed[section]:
            assert conf.has_option(section, option)


def connections() -> list[Block]:
    pages = [page for page in PAGES if "<!-- connection -->" in page.read_text()]
    return [
        block
        for page in pages
        for block in blocks_of(page)
        if page.read_text().splitlines()[max(0, block.line - 3)] == "<!-- connection -->"
    ]


@pytest.mark.parametrize("block", connections(), ids=lambda block: block.id)
def test_a_connection_can_be_used(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOWN", block.text.strip())
    config = ScenarioHook("shown").get_client_config()
    assert config.api_key.startswith("api_")
    assert config.timeout == 30
    assert str(config.project_id).startswith("proj_")


# --- Shell


@of("bash")
def test_bash(block: Block, tmp_path: Path) -> None:
    script = tmp_path / "block.sh"
    script.write_text(block.text)
    subprocess.run(["bash", "-n", str(script)], check=True)
    for words in commands_of(block.text):
        check(words)


def commands_of(text: str) -> list[list[str]]:
    joined = text.replace("\\\n", " ")
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def check(words: list[str]) -> None:
    """Whether a command and all that it names exist."""
    match words:
        case ["make", *targets]:
            there = set(re.findall(r"^([\w./-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
            assert {one for one in targets if "=" not in one} <= there
        case ["pip", "install", *wanted]:
            for one in wanted:
                name, _, extra = one.rstrip("]").partition("[")
                assert name in (PROJECT["project"]["name"], ".") or name.startswith("apache-airflow-providers-")
                assert not extra or name.startswith("apache") or extra in PROJECT["project"]["optional-dependencies"]
        case ["python" | ".venv/bin/python", "-m", "airflow_provider_scenario.sandbox", *arguments]:
            from airflow_provider_scenario.sandbox.command import _parser

            _parser().parse_args(arguments)
        case ["python" | ".venv/bin/python", "-m", module, *paths]:
            assert importlib.util.find_spec(module)
            assert all((REPOSITORY / path).exists() for path in paths if "/" in path)
        case ["python", path, *_] | ["bash", path]:
            assert (REPOSITORY / path).exists()
        case ["python3", "-m", "venv", _] | ["source", _] | ["mkdir", "-p", _]:
            pass
        case [setting, "airflow", *_] if setting.startswith("AIRFLOW__"):
            from airflow.configuration import conf

            _, section, option = setting.partition("=")[0].lower().split("__")
            assert conf.has_option(section, option)
            check(words[1:])
        case ["airflow", *arguments]:
            from airflow.cli.cli_parser import get_parser

            with contextlib.redirect_stderr(sys.stdout):
                get_parser().parse_args(arguments)
        case ["export" | "unset", *variables]:
            known = (REPOSITORY / "airflow_provider_scenario").rglob("*.py")
            named = {one.partition("=")[0] for one in variables} - {"HTTPS_PROXY", "NO_PROXY"}
            code = "\n".join(path.read_text() for path in known)
            assert all(one in code for one in named), named
        case _:
            pytest.fail(f"no check for the command {words}")
