"""The picture of ``benchmarks/polling.py``: plain SVG, three charts side by side, legible on light and dark pages."""

from __future__ import annotations

import math
from html import escape
from typing import Any

CONTENDERS = {
    "scenario": ("this provider", "#7c5cff"),
    "http sensor": ("HttpSensor, deferrable", "#e8833a"),
    "sdk threads": ("scenario-sdk, 32 threads", "#8a8f98"),
}
CHARTS = (
    ("requests_a_second", "Requests a second", 0.05),
    ("cpu_seconds_a_minute", "CPU seconds a minute", 0.5),
    ("p95", "Seconds from a job's end to the event, p95", 1.0),
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
    for place, (key, title, least) in enumerate(CHARTS):
        left = GAP + place * (WIDTH + GAP)
        parts.append(f'<text x="{left}" y="{TOP - 14}" fill="#1c1e21" font-weight="600">{escape(title)}</text>')
        parts += _chart(results, numbers, key, least, left)
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
    parts = [f'<line x1="{left}" y1="{bottom}" x2="{left + WIDTH}" y2="{bottom}" stroke="#c9ccd1"/>']
    for column, number in enumerate(numbers):
        middle = left + (column + 0.5) * group
        parts.append(
            f'<text x="{middle:.0f}" y="{bottom + 18}" text-anchor="middle" fill="#5f6368">{number:,} jobs</text>'
        )
        for bar, (contender, (_, colour)) in enumerate(CONTENDERS.items()):
            value = rows.get((contender, number))
            x = middle + (bar - 1.5) * 30
            height = 2.0 if not value else max(2.0, math.log(max(value / least, 1.0)) * scale)
            words = "late" if value is None else f"{value:.3g}"
            parts.append(
                f'<rect x="{x:.1f}" y="{bottom - height:.1f}" width="26" height="{height:.1f}" rx="2" fill="{colour}"/>'
            )
            parts.append(
                f'<text x="{x + 13:.1f}" y="{bottom - height - 4:.1f}" text-anchor="middle" font-size="10" '
                f'fill="#1c1e21">{words}</text>'
            )
    return parts
