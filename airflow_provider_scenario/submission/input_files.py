"""Makes assets of the files that inputs name. Imported only where there is a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.api.model import Model, ModelInput
from airflow_provider_scenario.api.validation import check_file, file_paths, with_assets
from airflow_provider_scenario.exceptions import ScenarioFileError
from airflow_provider_scenario.files.source import SourceFile, find_source
from airflow_provider_scenario.files.upload import AssetUploader, UploadCache
from airflow_provider_scenario.submission.prepare import Clip, refuse

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Logger

    from airflow_provider_scenario.api.client import ScenarioClient


class InputFiles:
    """Makes assets of the files that inputs name."""

    def __init__(
        self, client: ScenarioClient, context: Context, *, argument_name: Callable[[str], str], log: Logger
    ) -> None:
        self._uploader = AssetUploader(client, UploadCache.of(context), log)
        self._argument_name = argument_name
        self._assets: dict[str, str] = {}
        self._durations: dict[str, float | None] = {}

    def stop(self) -> None:
        """End an upload that is under way soon."""
        self._uploader.stop()

    @property
    def clips(self) -> dict[str, Clip]:
        """What the files were, by the asset that each has become."""
        return {
            asset_id: Clip(path.rpartition("/")[2], self._durations.get(path))
            for path, asset_id in self._assets.items()
        }

    def uploaded(self, model: Model, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs with every file an asset. Every file is judged before the first is sent."""
        for path, source in self._sources(model, file_paths(model, values)).items():
            self._durations[path] = source.media.duration
            self._assets[path] = self._uploader.upload(source, path=path)
        return with_assets(model, values, self._assets)

    def _sources(self, model: Model, named: Mapping[str, tuple[ModelInput, str]]) -> dict[str, SourceFile]:
        """Return the files that no earlier try has sent."""
        sources: dict[str, SourceFile] = {}
        faults: list[str] = []
        for input_path, (spec, path) in named.items():
            if path not in self._assets:
                # An earlier try's asset is taken without touching the file: a retry works even if the file has gone.
                known = self._uploader.find_existing(path)
                if known is not None:
                    self._assets[path] = known
            if path not in self._assets:
                faults.extend(_faults(input_path, spec, path, sources))
        refuse(model, faults, self._argument_name)
        return sources


def _faults(input_path: str, spec: ModelInput, path: str, sources: dict[str, SourceFile]) -> list[str]:
    """Find a file, keep it among the sources, and return what is wrong with it."""
    try:
        source = sources[path] = sources.get(path) or find_source(path, "the path")
    except ScenarioFileError as error:
        return [f"{input_path}: {error}"]
    return list(
        check_file(input_path, spec, path, kind=source.media.kind, size=source.size, duration=source.media.duration)
    )
