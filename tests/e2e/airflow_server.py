"""A real Airflow on this machine: scheduler, triggerer, API server and DAG processor, each a process of its own."""

from __future__ import annotations

import atexit
import json
import shutil
import signal
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx
import psutil

from tests.e2e.airflow_api import FINISHED, STATE_MISMATCH, AirflowApi, AirflowApiError, Record, ended_by_scheduler
from tests.e2e.airflow_components import AirflowComponents, Imported
from tests.e2e.airflow_settings import Ports, free_ports, inherited_environment, settings
from tests.e2e.postgres_server import PostgresServer
from tests.e2e.process_group import GUARD_OF_THIS_PROCESS, last_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from tests.e2e.process_group import ProcessGroup

LOOK_SECONDS = 0.25
LAST_WAITS_SECONDS = 10.0
"""How long a wait may last on an Airflow where another one came to no end: twenty such waits would take hours."""

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
"""In the order of their start: the triggerer is last, since the others need not wait for what it is given."""

JOB_TYPES = {"scheduler": "SchedulerJob", "dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}


class AirflowServer(AirflowApi):
    """Starts Airflow in a temporary folder on free ports, and ends all of it.

    :param dags_folders: one folder of DAG files, or several.
    :param environment: added to what the processes see, such as connections.
    :param database: SQLite needs nothing; PostgreSQL bears many tasks at once.
    :param parallelism: how many tasks run at once.
    :param imported: what components and tasks find imported when they start.
    :param stop_timeout: seconds that each component may take to end when all stop; by default they are killed, since
        nobody reads what they would still write.
    """

    def __init__(
        self,
        dags_folders: Path | Sequence[Path],
        *,
        environment: Mapping[str, str] | None = None,
        database: Literal["sqlite", "postgresql"] = "sqlite",
        parallelism: int = 4,
        imported: Imported = Imported.AIRFLOW,
        startup_timeout: float = 120.0,
        stop_timeout: float = 0.0,
    ) -> None:
        self.ports = Ports(*free_ports(3))
        super().__init__(f"http://localhost:{self.ports.api}")
        self.dags_folders = [dags_folders] if isinstance(dags_folders, Path) else list(dags_folders)
        self.processes: dict[str, ProcessGroup] = {}
        self._commands: dict[str, tuple[str, ...]] = {}
        self.startup_seconds: dict[str, float] = {}
        self._home: Path | None = None
        self._extra_environment = dict(environment or {})
        self._postgres = PostgresServer() if database == "postgresql" else None
        self._parallelism = parallelism
        self._imported = imported
        self._startup_timeout = startup_timeout
        self._stop_timeout = stop_timeout
        self._environment: dict[str, str] = {}
        self._started_components: AirflowComponents | None = None
        self._killed: set[str] = set()
        self._wait_that_timed_out = ""

    @property
    def home(self) -> Path:
        """Airflow's folder: configuration, database and logs."""
        if self._home is None:
            raise RuntimeError("Airflow has not been started")
        return self._home

    def __enter__(self) -> Self:
        self.start_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop_all()

    # All together

    def start_all(self) -> None:
        """Make the database, start the four components and wait until each has said it is alive."""
        atexit.register(self.stop_all)
        started = time.monotonic()
        try:
            self._prepare()
            self._make_database()
            self.startup_seconds["database"] = time.monotonic() - started
            launched = datetime.now(UTC)
            *others, triggerer = COMPONENTS
            for component in others:
                self._launch(component, component)
            self.components.prepare_triggerers()
            self._launch(triggerer, triggerer)
            for component in COMPONENTS:
                self._wait_until_alive(component, launched)
                self.startup_seconds[component] = time.monotonic() - started
        except BaseException:
            self.stop_all()
            raise

    def _prepare(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="airflow-"))
        GUARD_OF_THIS_PROCESS.tell("remove", self._home)
        database_url = (
            f"sqlite:///{self._home / 'airflow.db'}?timeout=60" if self._postgres is None else self._postgres.url
        )
        self._environment = {
            **inherited_environment(),
            **settings(
                home=self._home,
                dags_folders=[folder.resolve() for folder in self.dags_folders],
                ports=self.ports,
                database_url=database_url,
                parallelism=self._parallelism,
            ),
            **self._extra_environment,
        }
        self._started_components = AirflowComponents(
            self._home, self._environment, self._imported, self._startup_timeout
        )

    def _make_database(self) -> None:
        if self._postgres is not None:
            self._postgres.start()
        migration = self.components.start("migration", "db", "migrate")
        self.components.import_all()
        try:
            if migration.wait(self._startup_timeout) != 0:
                logs = migration.text() + self.components.starter.text()
                raise RuntimeError(f"Airflow's database could not be made:\n{last_lines(logs)}")
        finally:
            migration.end()

    def stop_all(self) -> None:
        """End every process this server started, and remove its folder."""
        for process in self.processes.values():
            process.ask_to_stop()
        while self.processes:
            _, process = self.processes.popitem()
            process.end(self._stop_timeout)
        if self._started_components is not None:
            self._started_components.end()
            self._started_components = None
        if self._postgres is not None:
            self._postgres.stop()
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            GUARD_OF_THIS_PROCESS.tell("keep", self._home)
            self._home = None
        atexit.unregister(self.stop_all)

    @property
    def environment(self) -> Mapping[str, str]:
        """What every component sees; a worker of another host may be given it too."""
        return self._environment

    def restart_database(self) -> None:
        """Restart PostgreSQL under everybody."""
        assert self._postgres is not None
        self._postgres.restart()

    # One component

    @property
    def components(self) -> AirflowComponents:
        """What starts this Airflow's components."""
        if self._started_components is None:
            raise RuntimeError("Airflow has not been started")
        return self._started_components

    def _launch(self, name: str, component: str, *arguments: str) -> None:
        self._commands[name] = (component, *arguments)
        self._killed.discard(name)
        self.processes[name] = self.components.start(name, component, *arguments)

    def start(self, component: str) -> None:
        """Start a component that was stopped or killed, and wait until it is alive."""
        launched = datetime.now(UTC)
        if (former := self.processes.pop(component, None)) is not None:
            former.end()
        self._launch(component, component)
        self._wait_until_alive(component, launched)

    def restart_ended(self) -> list[str]:
        """Start each component again that has ended, as systemd or Kubernetes does, and return their names."""
        ended = [name for name, process in self.processes.items() if process.exit_code is not None]
        for name in ended:
            self.processes.pop(name).end()
            self._launch(name, *self._commands[name])
        return ended

    def start_scheduler(self, name: str) -> None:
        """Start one more scheduler beside the first, under a name of its own."""
        self._launch(name, "scheduler")

    def start_triggerer(self, name: str) -> None:
        """Start one more triggerer beside the first, under a name of its own."""
        launched = datetime.now(UTC)
        self._launch(name, "triggerer", "--skip-serve-logs")
        self._wait_until_alive(name, launched)

    def stop(self, component: str, timeout: float = 10.0) -> None:
        """End a component the friendly way, and then whatever it left."""
        self.processes.pop(component).end(timeout)

    def kill(self, component: str, number: signal.Signals = signal.SIGKILL, *, with_children: bool = False) -> None:
        """Send a signal to a component; with its children, to every process it started too."""
        process = self.processes[component]
        if number is signal.SIGKILL:
            self._killed.add(component)
        children = psutil.Process(process.pid).children(recursive=True) if with_children else []
        process.signal(number)
        for child in children:
            child.send_signal(number)

    def component_log(self, component: str) -> str:
        """What a component wrote to its standard output and error."""
        return (self.home / f"{component}.log").read_text(errors="replace")

    def worker_pids(self) -> list[int]:
        """The scheduler's worker processes, which supervise tasks; a task's own process is `task_pids`."""
        scheduler = psutil.Process(self.processes["scheduler"].pid)
        return [child.pid for child in scheduler.children() if "worker" in " ".join(child.cmdline())]

    def task_pids(self) -> list[int]:
        """The processes that run tasks now, each a child of a worker."""
        return [child.pid for worker in self.worker_pids() for child in psutil.Process(worker).children()]

    # Waiting, by looks at PostgreSQL: those at the API would be half of its server's work

    def states(self, dag_id: str, run_id: str) -> tuple[str, Counter[str]]:
        """The run's state, and how many of its task instances are in which."""
        run = self._select("select state from dag_run where dag_id = %s and run_id = %s", dag_id, run_id)
        rows = self._select(
            f"select coalesce(state, 'none') from {self._live_instances} where dag_id = %s and run_id = %s",
            *(dag_id, run_id),
        )
        return run[0][0], Counter(state for (state,) in rows)

    def waiting_triggers(self) -> Counter[str]:
        """How many triggers of which class there are now."""
        return Counter(path.rpartition(".")[2] for (path,) in self._select("select classpath from trigger"))

    def tries(self, dag_id: str, run_id: str) -> Counter[int]:
        """How many task instances of a run needed how many tries."""
        sql = f"select try_number from {self._live_instances} where dag_id = %s and run_id = %s"
        return Counter(number for (number,) in self._select(sql, dag_id, run_id))

    def all_states(self, *dag_ids: str) -> tuple[dict[str, str], dict[tuple[str, str], Record]]:
        """The state of every run of the DAGs; and `state` and `try_number` of each of their tasks, by run and task."""
        runs = self._select("select run_id, state from dag_run where dag_id = any(%s)", list(dag_ids))
        rows = self._select(
            f"select run_id, task_id, state, try_number from {self._live_instances} where dag_id = any(%s)",
            list(dag_ids),
        )
        return dict(runs), {(run, task): {"state": state, "try_number": tries} for run, task, state, tries in rows}

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        timeout: float = 120.0,
        on_change: Callable[[list[Record]], None] | None = None,
    ) -> Record:
        """Wait until the run has ended and return its record; tell `on_change` of every change of a task.

        On PostgreSQL without `on_change` the record has just its `state`.
        """
        if self._postgres is not None and on_change is None:
            timeout = self._patience(timeout)
            deadline = time.monotonic() + timeout
            while (found := self.states(dag_id, run_id))[0] not in FINISHED:
                self.fail_if_ended()
                if time.monotonic() > deadline:
                    what = f"run {run_id} of {dag_id} is {found[0]} after {timeout:.0f} s: {found[1]}"
                    raise self._timed_out(what)
                time.sleep(LOOK_SECONDS)
            return {"state": found[0]}
        return super().wait_for_run(dag_id, run_id, timeout, on_change)

    def wait_for_state(
        self, dag_id: str, run_id: str, task_id: str, *states: str, map_index: int = -1, timeout: float = 120.0
    ) -> Record:
        """Wait until a task instance is in one of the states and return its record."""
        if self._postgres is not None:
            timeout = self._patience(timeout)
            deadline = time.monotonic() + timeout
            sql = (
                f"select state from {self._live_instances} where dag_id = %s and run_id = %s and task_id = %s "
                f"and {self._index_column} = %s"
            )
            place = (dag_id, run_id, task_id, map_index)
            while not (found := {row[0] for row in self._select(sql, *place)}) & set(states):
                self.fail_if_ended()
                if time.monotonic() > deadline:
                    what = f"{task_id}[{map_index}] of {run_id} of {dag_id} is {found} after {timeout:.0f} s"
                    raise self._timed_out(f"{what}, not {states}")
                time.sleep(LOOK_SECONDS)
            timeout = 0.0
        return super().wait_for_state(dag_id, run_id, task_id, *states, map_index=map_index, timeout=timeout)

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Record:
        """The record of one task instance; on PostgreSQL just its `state`, `try_number`, `pid` and `triggerer_job`."""
        if self._postgres is None:
            return super().task_instance(dag_id, run_id, task_id, map_index)
        [(state, try_number, pid, triggerer)] = self._select(
            f"select state, try_number, pid, triggerer_id from {self._live_instances} "
            "left join trigger on trigger_id = trigger.id "
            f"where dag_id = %s and run_id = %s and task_id = %s and {self._index_column} = %s",
            *(dag_id, run_id, task_id, map_index),
        )
        return {"state": state, "try_number": try_number, "pid": pid, "triggerer_job": triggerer and {"id": triggerer}}

    def held_connections(self) -> int:
        """How many connections to PostgreSQL stand amid a transaction, doing nothing."""
        return int(self._select("select count(*) from pg_stat_activity where state = 'idle in transaction'")[0][0])

    def multiply(self, dag_id: str, run_id: str, task_id: str, shown: Sequence[Mapping[str, Any]]) -> str:
        """Give a run's task as many mapped instances as there are purchases to be shown, without running them."""
        import psycopg2
        from psycopg2.extras import Json

        assert self._postgres is not None
        place = {"dag": dag_id, "run": run_id, "task": task_id, "shown": Json(list(shown)), "count": len(shown)}
        like = "old.dag_id = %(dag)s and old.run_id = %(run)s and old.task_id = %(task)s and old.map_index = -1"
        instances = (
            "insert into task_instance select made.* from task_instance old, generate_series(0, %(count)s - 1) n, "
            "jsonb_populate_record(old, jsonb_build_object('id', gen_random_uuid(), 'map_index', n)) made "
            f"where {like}"
        )
        xcoms = (
            "insert into xcom select made.* from xcom old, "
            "jsonb_array_elements(%(shown)s::jsonb) with ordinality s(v, n), "
            "jsonb_populate_record(old, jsonb_build_object('map_index', n - 1, 'value', v)) made "
            f"where {like} and old.key = 'scenario_purchases'"
        )
        with psycopg2.connect(self._postgres.url.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
            cursor.execute(instances, place)
            cursor.execute(xcoms, place)
        return run_id

    def written_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """What worker and triggerer have written of one try of a task; cheaper than `log`."""
        below = f"dag_id={dag_id}/run_id={run_id}/task_id={task_id}"
        if map_index >= 0:
            below += f"/map_index={map_index}"
        # Workers that are hosts of their own have folders of their own for their logs.
        folders = [self.home / "logs", *sorted(self.home.glob("*/logs"))]
        files = [file for folder in folders for file in sorted((folder / below).glob(f"attempt={try_number}.log*"))]
        return "\n".join(file.read_text() for file in files)

    def log_entries(
        self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1
    ) -> list[Record]:
        """The structured log of one try; from its files where the API has lost a try that the scheduler ended."""
        try:
            return super().log_entries(dag_id, run_id, task_id, try_number, map_index)
        except AirflowApiError as error:
            lines = self.written_log(dag_id, run_id, task_id, try_number, map_index).splitlines()
            if error.status != httpx.codes.NOT_FOUND or not lines:
                raise
            return [json.loads(line) for line in lines if line.startswith("{")]

    def ended_by_scheduler(self, dag_id: str, run_id: str) -> Counter[tuple[str, int]]:
        """How many tries of each task instance the scheduler ended by itself at most, by task and map index."""
        return ended_by_scheduler(
            self.events(dag_id, run_id, STATE_MISMATCH),
            lambda task_id, map_index, number: self.written_log(dag_id, run_id, task_id, number, map_index),
        )

    def kept_of(self, dag_id: str) -> str:
        """Every log, XCom, rendered field, stored state, asset event and question that Airflow keeps of a DAG."""
        # Workers that are hosts of their own have folders of their own for their logs.
        folders = sorted(self.home.rglob(f"dag_id={dag_id}"))
        logs = [file.read_text() for folder in folders for file in sorted(folder.rglob("*.log*"))]
        if not logs:
            raise FileNotFoundError(f"no log of {dag_id}")
        instances = "(select id from task_instance where dag_id = %s)"
        questions = {
            "xcom": "select value::text from xcom where dag_id = %s",
            "xcom_v2": f"select value::text from xcom_v2 where task_instance_id in {instances}",
            "rendered_task_instance_fields": (
                "select rendered_fields::text from rendered_task_instance_fields where dag_id = %s"
            ),
            "rtif_v2": f"select rendered_fields::text from rtif_v2 where task_instance_id in {instances}",
            "task_state_store": "select value from task_state_store where dag_id = %s",
            "asset_event": "select extra::text from asset_event where source_dag_id = %s",
            "hitl_detail": (
                f"select concat(subject, body, params, params_input) from hitl_detail where ti_id in {instances}"
            ),
        }
        asked = [sql for table, sql in questions.items() if table in self._columns]
        kept = self._select(" union all ".join(asked), *(dag_id,) * len(asked))
        return "\n".join([*logs, *(str(value) for (value,) in kept)])

    def secrets_shown(self, *dag_ids: str, secret: str) -> list[str]:
        """Which secrets stand in what Airflow keeps of DAGs, or in what its components wrote.

        :param secret: The API secret.
        """
        files = sorted([*self.home.glob("*.log"), *self.home.glob("*/log")])  # Of components, and of Celery's workers.
        everything = "\n".join([*map(self.kept_of, dag_ids), *(file.read_text(errors="replace") for file in files)])
        return _secrets_in(everything, secret)

    def secrets_in_triggers(self, *, secret: str) -> list[str]:
        """Which secrets stand in the triggers that wait now, or in the events that tasks are about to be given.

        :param secret: The API secret.
        """
        triggers = [kwargs for (kwargs,) in self._select("select kwargs from trigger where kwargs != ''")]
        # What a task defers with is not encrypted; if it were, a search would prove nothing.
        assert all(kwargs.startswith("{") for kwargs in triggers), triggers
        events = self._select("select next_kwargs::text from task_instance where next_kwargs is not null")
        return _secrets_in("\n".join([*triggers, *(kwargs for (kwargs,) in events)]), secret)

    # Airflow's tables: their names and columns differ between versions

    @cached_property
    def _columns(self) -> dict[str, set[str]]:
        """The columns of each table."""
        found: dict[str, set[str]] = {}
        sql = "select table_name, column_name from information_schema.columns where table_schema = 'public'"
        for table, column in self._select(sql):
            found.setdefault(table, set()).add(column)
        return found

    @property
    def _index_column(self) -> str:
        """The column that tells the instances of a mapped task apart."""
        return "region_index" if "region_index" in self._columns["task_instance"] else "map_index"

    @property
    def _live_instances(self) -> str:
        """The task instances without the rows of former tries, which Airflow keeps beside them from 3.4 on."""
        if "working_set" not in self._columns["task_instance"]:
            return "task_instance"
        return "(select * from task_instance where working_set) as task_instance"

    def _select(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        # What only tests use: `make demo` does without.
        import psycopg2

        assert self._postgres is not None
        with psycopg2.connect(self._postgres.url.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    # Being alive

    def fail_if_ended(self) -> None:
        """Raise `RuntimeError` when Airflow has been stopped, or a component has ended that nobody has killed."""
        if not self.processes:
            raise RuntimeError("Airflow has been stopped")
        for name, process in list(self.processes.items()):
            if process.exit_code is not None and name not in self._killed:
                raise RuntimeError(f"{name} ended with {process.exit_code}:\n{last_lines(process.text())}")

    def _patience(self, timeout: float) -> float:
        """How long a wait may last."""
        return min(timeout, LAST_WAITS_SECONDS) if self._wait_that_timed_out else timeout

    def _timed_out(self, what: str) -> TimeoutError:
        """Tell of a wait that came to no end, of one before it, and of what the components wrote last."""
        before = f"\nBefore that: {self._wait_that_timed_out}" if self._wait_that_timed_out else ""
        self._wait_that_timed_out = self._wait_that_timed_out or what
        logs = (f"--- {name}:\n{last_lines(process.text())}" for name, process in list(self.processes.items()))
        return TimeoutError("\n".join((what + before, *logs)))

    def _wait_until_alive(self, name: str, launched: datetime) -> None:
        deadline = time.monotonic() + self._startup_timeout
        while not self._is_alive(name, launched):
            self.fail_if_ended()
            if time.monotonic() > deadline:
                log = last_lines(self.processes[name].text())
                raise TimeoutError(f"{name} is not alive after {self._startup_timeout:.0f} s:\n{log}")
            time.sleep(0.1)

    def _is_alive(self, name: str, launched: datetime) -> bool:
        """Whether the component answers, or has a job that began after it was launched and beats."""
        try:
            if name == "api-server":
                # Its routes for tasks are generated when the first is asked for, which a task may not have time for.
                return bool(self.api("GET", "version")) and self._client.get("/execution/health").is_success
            job_type = JOB_TYPES.get(name, "TriggererJob")
            query = {"job_type": job_type, "start_date_gte": launched.isoformat(), "is_alive": True}
            return bool(self.api("GET", "jobs", **query)["jobs"])
        except httpx.TransportError:
            return False
        except AirflowApiError as error:
            if error.status < httpx.codes.INTERNAL_SERVER_ERROR:
                raise
            return False


def _secrets_in(text: str, secret: str) -> list[str]:
    """Name the secrets that stand in a text: the API secret, and what a signed URL or a header would show."""
    secrets = {"the API secret": secret} | {name: name for name in ("Signature=", "Authorization: ", "Basic ")}
    return [name for name, known in secrets.items() if known in text]
