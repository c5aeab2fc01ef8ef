"""What the save operator does in a task: deliver the files, describe them, and tell Airflow's assets of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.job import Job, JobStatus
from airflow_provider_scenario.exceptions import ScenarioFileError, ScenarioTransferError
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.transfers.delivery import Delivery
from airflow_provider_scenario.transfers.folder import folder_at
from airflow_provider_scenario.transfers.location import object_path
from airflow_provider_scenario.transfers.manifest import Manifest, manifest_name
from airflow_provider_scenario.transfers.manifest_file import ManifestFile
from airflow_provider_scenario.transfers.naming import asset_ids_of, name_in_common_folder, split_destination
from airflow_provider_scenario.transfers.origin import jobs_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_scenario.api.client import ScenarioClient
    from airflow_provider_scenario.transfers.scenario_to_object_storage import ScenarioToObjectStorageOperator


class Saving:
    """One try of saving.

    :param operator: What the author asked for.
    :param context: Airflow's task context.
    """

    def __init__(self, operator: ScenarioToObjectStorageOperator, context: Context) -> None:
        self._operator = operator
        self._context = context
        self._delivery: Delivery | None = None
        self._is_stopped = False

    def run(self) -> list[dict[str, Any]]:
        """Save the files, and return the facts of each."""
        operator, context = self._operator, self._context
        given_ids = None if operator.asset_ids is None else asset_ids_of(operator.asset_ids)
        root, template = split_destination(str(operator.destination))
        called = manifest_name(operator.manifest, template, context["ti"].map_index)
        path = object_path(root, "destination")
        folder = folder_at(path)
        folder.prepare()
        with ScenarioHook(operator.scenario_conn_id, operator.project_id).get_conn() as client:
            job = None if operator.job_id is None else _finished_job(client, str(operator.job_id))
            facts = {"job_id": job.id, "model_id": job.model_id} if job else {}
            beside = ManifestFile(folder, called and name_in_common_folder(template, called, facts))
            self._delivery = Delivery(
                client, folder, beside, template, operator.log, original=operator.original, timeout=operator.timeout
            )
            if self._is_stopped:
                self._delivery.stop()
            files = self._delivery.deliver(given_ids or list(job.asset_ids if job else ()), facts)
            manifest = Manifest(str(path), files, jobs_of(files, job, client, operator.log), beside.uri)
        beside.write(manifest)
        context["ti"].xcom_push(key="manifest", value=manifest.document())
        _announce(context, operator.outlets, manifest)
        return [file.facts() for file in files]

    def stop(self) -> None:
        """End the transfers soon; what is whole stays, what is half goes."""
        self._is_stopped = True
        if self._delivery is not None:
            self._delivery.stop()


def _finished_job(client: ScenarioClient, job_id: str) -> Job:
    job = client.send(calls.get_job(job_id.strip()))
    if job.status is JobStatus.SUCCESS and job.asset_ids:
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
            for one in manifest.of_each_file():
                uri = quote(one.files[0].uri, safe=":/@")
                context["outlet_events"][outlet].add(Asset(uri=uri), extra=one.event_extra())
