"""The picture of ``benchmarks/polling.py``: plain SVG, three charts side by side, legible on light and dark pages."""

from __future__ import annotations

import math
from html import escape
from typing import Any

CONTENDERS = {
    "scenario": ("this provider", "#7c5cff"),
    "http sensor": ("HttpSensor, deferrable", "#e8833a"),
    "sdk threads": ("scenario-sdk, 32 threads", "#8a8f98"),
    "airflow alone": ("Airflow's own work, asking nobody", "#d0d3d8"),
}
ASKING = ("scenario", "http sensor", "sdk threads")
CHARTS = (
    ("requests_a_second", "Requests a second (logarithmic)", 0.05, ASKING),
    ("cpu_seconds_a_minute", "CPU seconds a minute (logarithmic)", 0.5, tuple(CONTENDERS)),
    ("p95", "Seconds from a job's end to the event, p95", 1.0, ASKING),
)
WIDTH, HEIGHT, GAP, TOP, BOTTOM = 300, 190, 30, 70, 30


def draw(results: list[dict[str, Any]]) -> str:
    """Return the picture.

    :param results: The rows of the benchmark's JSON.
    """
    numbers = sorted({row["jobs"] for row in results})
    whole = len(CHARTS) * (WIDTH + GAP) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {TOP + HEIGHT + BOTTOM}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{whole}" height="{TOP + HEIGHT + BOTTOM}" rx="8" fill="#ffffff"/>',
    ]
    parts += _legend()
    for place, (key, title, least, contenders) in enumerate(CHARTS):
        left = GAP + place * (WIDTH + GAP)
        parts.append(f'<text x="{left}" y="{TOP - 14}" fill="#1c1e21" font-weight="600">{escape(title)}</text>')
        shown = [row for row in results if row["contender"] in contenders]
        parts += _chart(shown, numbers, key, least, left)
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> list[str]:
    parts, left = [], GAP
    for words, colour in CONTENDERS.values():
        parts.append(f'<rect x="{left}" y="16" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{left + 18}" y="26" fill="#1c1e21">{escape(words)}</text>')
        left += 200
    return parts


def _chart(results: list[dict[str, Any]], numbers: list[int], key: str, least: float, left: float) -> list[str]:
    """Return bars on a logarithmic scale, each with its value."""
    rows = {(row["contender"], row["jobs"]): row[key] for row in results}
    most = max((value for value in rows.values() if value), default=1.0)
    scale = (HEIGHT - 20) / math.log(max(most / least, math.e))
    bottom, group = TOP + HEIGHT, WIDTH / len(numbers)
    contenders = [name for name in CONTENDERS if any(row["contender"] == name for row in results)]
    width = min(30.0, 0.9 * group / len(contenders))
    parts = [f'<line x1="{left}" y1="{bottom}" x2="{left + WIDTH}" y2="{bottom}" stroke="#c9ccd1"/>']
    for column, number in enumerate(numbers):
        middle = left + (column + 0.5) * group
        parts.append(
            f'<text x="{middle:.0f}" y="{bottom + 18}" text-anchor="middle" fill="#5f6368">{number:,} jobs</text>'
        )
        for bar, contender in enumerate(contenders):
            value, colour = rows.get((contender, number)), CONTENDERS[contender][1]
            x = middle + (bar - len(contenders) / 2) * width
            height = 2.0 if not value else max(2.0, math.log(max(value / least, 1.0)) * scale)
            top, centre = bottom - height, x + width / 2 - 1.5
            words = "late" if value is None else f"{value:.3g}"
            parts.append(
                f'<rect x="{x:.1f}" y="{top:.1f}" width="{width - 3:.0f}" height="{height:.1f}" rx="2" '
                f'fill="{colour}"/>'
            )
            parts.append(
                f'<text x="{centre:.1f}" y="{top - 4:.1f}" text-anchor="middle" font-size="9.5" '
                f'fill="#1c1e21">{words}</text>'
            )
    return parts
