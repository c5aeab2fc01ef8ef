"""Saves what Scenario made: from asset ids, or a job, to files in a folder or bucket."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias, BaseOperator

from airflow_provider_scenario.arguments import seconds_of
from airflow_provider_scenario.exceptions import ScenarioConfigurationError, ScenarioFileError, ScenarioTransferError
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.links import ScenarioPageLink, show_page
from airflow_provider_scenario.retry_policy import task_errors, with_retry_policy

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_scenario.api.client import ScenarioClient
    from airflow_provider_scenario.api.job import Job
    from airflow_provider_scenario.files.download import AssetDownloader
    from airflow_provider_scenario.files.manifest import Manifest


class ScenarioToObjectStorageOperator(BaseOperator):
    """Save files of Scenario in a folder, each whole and right, or not at all.

    Files are streamed, counted, digested, and resumed after a cut. What the CDN sends counts only if its type, length
    and first bytes fit Scenario's record. A file that is there is kept if a manifest of this operator holds its digest;
    anything else under its name is replaced.

    Last comes the manifest: JSON beside the files that names each, and the jobs they come from with their inputs, seed
    and cost. It is gone while files change, so a folder that is written by this task alone and has it is
    complete. It is also the XCom ``manifest``.
    Every :class:`~airflow.sdk.Asset` in ``outlets`` gets it flat as its event's extra; every
    :class:`~airflow.sdk.AssetAlias` gets one Airflow asset a file.

    :param asset_ids: The Scenario assets to save: one id or a list. Either this or ``job_id``.
    :param job_id: The job whose outputs to save; it must have ended in ``success``.
    :param destination: The folder: ``file:///data/clips``, ``/data/clips``, ``s3://connection@bucket/clips``, or any
        other URI that ``ObjectStoragePath`` takes. Names below it may be given as a template, such as
        ``/data/clips/{index:03d}-{asset_id}{ext}``. Its fields: ``asset_id``, ``ext`` (the ending with its dot, from
        the MIME type), ``index`` (place among the files, from 1), ``kind`` (``video``, ...), and with ``job_id`` also
        ``job_id`` and ``model_id``. A template ends with ``{ext}``. Default name: ``{asset_id}{ext}``.
    :param root: A folder that ``destination`` stays below, whatever is rendered: fixed by the DAG's author, so it is no
        template field. With it ``destination`` may be relative, such as ``{{ params.name }}``. ``..``, another storage
        or connection, and symbolic links that lead out are refused before anything is fetched. Default: none; give one
        wherever ``destination`` holds what people may enter.
    :param manifest: ``True`` (default) for a manifest called ``manifest.json``, in an instance of a mapped task
        ``manifest-<map index>.json`` unless the template gives each ``job_id`` its folder; ``False`` for none, or a
        name. Tasks that save into one folder need names of their own. A file of that name which is no manifest is not
        replaced: the task fails before it fetches anything.
    :param scenario_conn_id: The connection to Scenario. Default ``scenario_default``.
    :param project_id: The Scenario project to name in each request. Default: the connection's, else the key's own.
    :param original: Whether to fetch the files before Scenario optimised them. Default: no.
    :param asset_timeout: Seconds to wait for assets that Scenario is still making, 0 or more. Default 600.
    :return: One dict a file, in order: ``uri``, ``asset_id``, ``sha256``, ``bytes``, ``mime_type``, ``width`` and
        ``height`` (pixels), ``duration`` (seconds), ``frame_rate`` (frames a second), ``kind`` and ``job_id``.
    :raises ScenarioFileError: if a file can't be written (no space, no permission, no renaming, unknown scheme or
        connection), ``destination`` is not below ``root``, or Scenario has no file for an asset.
    :raises ScenarioTransferError: if a file did not arrive whole, or the job has not ended yet.
    :raises ScenarioConfigurationError: if an argument can't be used as it stands.
    """

    template_fields: Sequence[str] = (
        "asset_ids",
        "job_id",
        "destination",
        "manifest",
        "scenario_conn_id",
        "project_id",
    )
    operator_extra_links = (ScenarioPageLink(),)
    ui_color = "#d7ecf4"

    def __init__(
        self,
        *,
        asset_ids: Sequence[str] | str | None = None,
        job_id: str | None = None,
        destination: str | ObjectStoragePath,
        root: str | ObjectStoragePath | None = None,
        manifest: str | bool = True,
        scenario_conn_id: str = ScenarioHook.default_conn_name,
        project_id: str | None = None,
        original: bool = False,
        asset_timeout: float = 600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**with_retry_policy(kwargs))
        self.asset_ids = asset_ids
        self.job_id = job_id
        self.destination = destination
        self.root = root
        self.manifest = manifest
        self.scenario_conn_id = scenario_conn_id
        self.project_id = project_id
        self.original = original
        self.asset_timeout = seconds_of("asset_timeout", asset_timeout, or_zero=True)
        self._downloader: AssetDownloader | None = None
        self._is_killed = False

    @task_errors()
    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Save the files."""
        from airflow_provider_scenario.files.download import AssetDownloader
        from airflow_provider_scenario.files.location import object_path
        from airflow_provider_scenario.files.manifest import Manifest, ManifestFile, jobs_of, manifest_name
        from airflow_provider_scenario.files.naming import (
            asset_ids_of,
            below_root,
            name_in_common_folder,
            split_destination,
        )
        from airflow_provider_scenario.files.storage import folder_at

        if self.asset_ids is None and self.job_id is None:
            raise ScenarioConfigurationError(
                f"Give asset_ids or job_id to {self.task_id}: one of them. Both came out empty: the task they come "
                "from may have been skipped, or have returned nothing."
            )
        if self.asset_ids is not None and self.job_id is not None:
            raise ScenarioConfigurationError(f"Give asset_ids or job_id to {self.task_id}: one of them, not both.")
        given_ids = None if self.asset_ids is None else asset_ids_of(self.asset_ids)
        destination = str(self.destination)
        within = None if self.root is None else object_path(str(self.root), "root")
        if self.root is not None:
            destination = below_root(destination, str(self.root))
        base, template = split_destination(destination)
        name = manifest_name(self.manifest, template, context["ti"].map_index)
        path = object_path(base, "destination")
        folder = folder_at(path, within)
        with ScenarioHook(self.scenario_conn_id, self.project_id).get_conn() as client:
            job = None if self.job_id is None else _finished_job(client, str(self.job_id), self.log)
            facts = {"job_id": job.id, "model_id": job.model_id} if job else {}
            beside = ManifestFile(folder, name and name_in_common_folder(template, name, facts), self.log)
            downloader = AssetDownloader(
                client, folder, beside, template, self.log, original=self.original, asset_timeout=self.asset_timeout
            )
            self._downloader = downloader
            if self._is_killed:
                downloader.stop()
            files = downloader.save(given_ids or list(job.asset_ids if job else ()), facts)
            manifest = Manifest(str(path), files, jobs_of(files, job, client, self.log), beside.uri)
        beside.write(manifest)
        context["ti"].xcom_push(key="manifest", value=manifest.document())
        show_page(context, self.scenario_conn_id, self.project_id, [job.id for job in manifest.jobs])
        _announce(context, self.outlets, manifest)
        return [file.facts() for file in files]

    def on_kill(self) -> None:
        """End the transfers; what is whole stays, what is half goes."""
        self._is_killed = True
        if self._downloader is not None:
            self._downloader.stop()


def _finished_job(client: ScenarioClient, job_id: str, log: Any) -> Job:
    from airflow_provider_scenario.api import calls
    from airflow_provider_scenario.api.job import JobStatus
    from airflow_provider_scenario.polling.wait import OUTPUTS_PAUSE, OUTPUTS_READS

    job = client.send(calls.get_job(job_id.strip()))
    for _ in range(OUTPUTS_READS):
        if not job.lacks_outputs:
            break
        time.sleep(OUTPUTS_PAUSE)  # One reply may lack the outputs that the next has.
        job = client.send(calls.get_job(job_id.strip()))
    if job.status is JobStatus.SUCCESS and job.asset_ids:
        if job.lacks_outputs:
            log.warning("Scenario does not show all outputs of job %s: those that it shows are saved.", job_id)
        return job
    if not job.is_finished:
        raise ScenarioTransferError(
            f"Job {job_id} has not ended: its status is {job.status.value}. Nothing is lost. Let this task follow one "
            "that waits for the job, such as ScenarioJobSensor.",
            job_id=job_id,
        )
    reason = f" Scenario says: {job.error}" if job.error else ""
    hint = f" ({job.hint})" if job.hint else ""
    raise ScenarioFileError(
        f"Job {job_id} ended in {job.status.value} and has no files to save.{reason}{hint}", job_id=job_id
    )


def _announce(context: Context, outlets: Sequence[Any], manifest: Manifest) -> None:
    """Tell Airflow's assets what was saved."""
    for outlet in outlets:
        if isinstance(outlet, Asset):
            context["outlet_events"][outlet].extra = manifest.event_extra()
        elif isinstance(outlet, AssetAlias):
            for single in manifest.of_each_file():
                uri = quote(single.files[0].uri, safe=":/@")
                context["outlet_events"][outlet].add(Asset(uri=uri), extra=single.event_extra())
