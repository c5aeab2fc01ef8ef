"""What can be set, at the start and while the sandbox runs."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


LARGEST_NUMBER = 1e9
"""Of any setting: seconds of thirty years, with which times are still times."""


class SettingsError(ValueError):
    """A setting that does not exist, or a value of the wrong kind or out of range."""


def _setting(default: Any, what: str, **limits: Any) -> Any:
    if isinstance(default, list):
        return field(default_factory=lambda: tuple(default), metadata={"what": what, **limits})
    return field(default=default, metadata={"what": what, **limits})


@dataclass(frozen=True)
class Settings:
    """How the sandbox behaves. Seconds may be fractions; every number is 0 or more."""

    job_seconds: float = _setting(2.0, "seconds from submission to the end of a job")
    parallel_jobs: int = _setting(20, "jobs that may run at once; one more is answered with 429")
    cooldown_seconds: float = _setting(
        0.0, "seconds after an accepted job in which the next is refused with a cooldown 429"
    )
    render: str = _setting(
        "full", "full: real videos; tiny: 8 small frames of the right aspect", choices=("full", "tiny")
    )
    list_lag_seconds: float = _setting(0.0, "seconds by which GET /jobs lags behind")
    not_found_seconds: float = _setting(0.0, "seconds after its creation in which GET /jobs/{id} answers 404 for a job")
    empty_pages: int = _setting(0, "empty pages with a token before each page of a list of jobs or assets")
    short_pages: bool = _setting(
        False, "pages of jobs and assets hold at most half of pageSize, and still carry a token"
    )
    url_ttl_seconds: float = _setting(0.0, "seconds a signed URL works; 0: Scenario's calendar windows, 7 to 16 days")
    transformed_urls: bool = _setting(
        True, "an asset's url leads to a transformed file with other bytes unless originalAssets=true is asked for"
    )
    asset_pending_seconds: float = _setting(0.0, "seconds an output stays pending after its job succeeded")
    clock_skew_seconds: float = _setting(0.0, "seconds the server's clock is ahead; may be negative", signed=True)
    upload_seconds: float = _setting(0.3, "seconds from an upload's completion to its import")
    prompt_echo_limit: int = _setting(200, "characters; a longer prompt is echoed as the id of a text asset")
    dry_run_validates: bool = _setting(True, "a dry run refuses bad inputs, as the paid run does")
    models_unavailable: bool = _setting(False, "GET /models... answers 503")
    restricted_models: tuple[str, ...] = _setting([], "model ids that the plan refuses with 403")
    no_refund_models: tuple[str, ...] = _setting([], "model ids whose failed jobs are not refunded")
    fail_next_jobs: int = _setting(0, "how many of the next jobs fail; counts down")
    failure_share: float = _setting(0.0, "share of jobs that fail, 0 to 1", maximum=1)
    price_factor: float = _setting(1.0, "what every price is multiplied by; prices are rounded to hundredths")
    discount_share: float = _setting(0.0, "share of each price that is taken off as a discount, 0 to 1", maximum=1)
    quality_gate_units: float = _setting(0.0, "creative units charged for an add-on, the quality gate, of each job")
    dry_run_ignored: bool = _setting(False, "a dry run is taken for a purchase, as behind a proxy that drops the query")
    creative_units: float = _setting(1_000_000.0, "creative units the team may spend; beyond that 402")

    def changed(self, values: Mapping[str, object]) -> Settings:
        """Give these settings with some of them replaced; raises ``SettingsError`` for anything unknown or unfit."""
        known = {each.name: each for each in fields(self)}
        clean: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise SettingsError(f"there is no setting {name!r}; the settings are {', '.join(sorted(known))}")
            clean[name] = _checked(name, value, getattr(self, name), known[name].metadata)
        return replace(self, **clean)

    def as_json(self) -> dict[str, Any]:
        """All settings by name."""
        return {
            each.name: list(value) if isinstance(value := getattr(self, each.name), tuple) else value
            for each in fields(self)
        }


def _checked(name: str, value: object, current: object, limits: Mapping[str, Any]) -> object:
    """Give the value as the setting's own type."""
    if isinstance(current, bool):
        if isinstance(value, bool):
            return value
    elif isinstance(current, tuple):
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return tuple(value)
    elif isinstance(current, str):
        if value in limits["choices"]:
            return value
        raise SettingsError(f"{name} must be one of {', '.join(limits['choices'])}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        most = limits.get("maximum", LARGEST_NUMBER)
        if not (-most if limits.get("signed") else 0) <= value <= most:  # as no comparison with NaN holds
            raise SettingsError(f"{name} is out of range: {str(value)[:50]}")
        if isinstance(current, float):
            return float(value)
        if value == int(value):
            return int(value)
    raise SettingsError(f"{name} must be a {type(current).__name__}, not {value!r}")
