"""Saves what Scenario made: from asset ids, or a job, to files in a folder or bucket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_scenario.api.values import seconds_of
from airflow_provider_scenario.exceptions import ScenarioConfigurationError
from airflow_provider_scenario.hooks.scenario import ScenarioHook
from airflow_provider_scenario.retry_policy import permanent_errors_end_the_task, with_retry_policy

if TYPE_CHECKING:
    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider_scenario.transfers.saving import Saving


class ScenarioToObjectStorageOperator(BaseOperator):
    """Save files of Scenario in a folder, each whole or not at all.

    Files are streamed, counted, digested, and resumed after a cut. A file that is there and right is not fetched
    again, if its name holds the asset's id.

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
        ``job_id`` and ``model_id``. Default name: ``{asset_id}{ext}``.
    :param manifest: ``True`` (default) for a manifest called ``manifest.json``, in an instance of a mapped task
        ``manifest-<map index>.json`` unless the template gives each ``job_id`` its folder; ``False`` for none, or a
        name. Tasks that save into one folder need names of their own.
    :param scenario_conn_id: The connection to Scenario. Default ``scenario_default``.
    :param project_id: The project to assert on every call. Default: the connection's, else the key's own.
    :param original: Whether to fetch the files before Scenario optimised them. Default: no.
    :param timeout: Seconds to wait for assets that Scenario is still making, 0 or more. Default 600.
    :return: One dict a file, in order: ``uri``, ``asset_id``, ``sha256``, ``bytes``, ``mime_type``, ``width`` and
        ``height`` (pixels), ``duration`` (seconds), ``frame_rate`` (frames a second), ``kind`` and ``job_id``.
    :raises ScenarioFileError: if a file can't be written (no space, no permission, unknown scheme), or if Scenario has
        none for an asset.
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
    ui_color = "#d7ecf4"

    def __init__(
        self,
        *,
        asset_ids: Sequence[str] | str | None = None,
        job_id: str | None = None,
        destination: str | ObjectStoragePath,
        manifest: str | bool = True,
        scenario_conn_id: str = ScenarioHook.default_conn_name,
        project_id: str | None = None,
        original: bool = False,
        timeout: float = 600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**with_retry_policy(kwargs))
        self.asset_ids = asset_ids
        self.job_id = job_id
        self.destination = destination
        self.manifest = manifest
        self.scenario_conn_id = scenario_conn_id
        self.project_id = project_id
        self.original = original
        self.timeout = seconds_of("timeout", timeout, or_zero=True)
        self._saving: Saving | None = None

    @permanent_errors_end_the_task()
    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Save the files."""
        if (self.asset_ids is None) == (self.job_id is None):
            raise ScenarioConfigurationError(f"Give asset_ids or job_id to {self.task_id}: one of them, not both.")
        from airflow_provider_scenario.transfers.saving import Saving

        self._saving = Saving(self, context)
        return self._saving.run()

    def on_kill(self) -> None:
        """End the transfers; what is whole stays, what is half goes."""
        if self._saving is not None:
            self._saving.stop()
