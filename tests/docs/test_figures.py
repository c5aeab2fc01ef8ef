"""Figures on the pages are those that were measured, or counted."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import FOLDER, REPOSITORY, blocks_of
from tests.e2e.test_never_pay_twice import CRASHES, LOST_REPLIES

README = (REPOSITORY / "README.md").read_text()
CHART = re.findall(r">([\d.,]+(?: jobs)?)<", (REPOSITORY / "benchmarks" / "polling.svg").read_text())


def rows_of(page: str, head: str) -> list[list[str]]:
    lines = (FOLDER / f"{page}.md").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {head} |"))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def chart() -> list[dict[str, list[str]]]:
    """Return the chart's three parts: the figures of each number of jobs, in the legend's order."""
    parts: list[dict[str, list[str]]] = []
    for text in CHART:
        if text.endswith(" jobs"):
            if text == "100 jobs":
                parts.append({})
            parts[-1][text.removesuffix(" jobs")] = []
            now = parts[-1][text.removesuffix(" jobs")]
        elif parts:
            now.append(text)
    return parts


REQUESTS, CPU, DELAY = chart()


def test_requests_are_those_of_the_chart() -> None:
    assert [[jobs, *figures] for jobs, figures in REQUESTS.items()] == rows_of("never-hold-a-slot", "Waiting jobs")
    assert f"5,000 waiting jobs cost {REQUESTS['5,000'][0]} requests a second" in " ".join(README.split())
    assert f"where `HttpSensor` makes {REQUESTS['5,000'][1]}." in " ".join(README.split())


def test_the_table_of_scale_is_that_of_the_chart() -> None:
    rows = [[jobs, REQUESTS[jobs][0], CPU[jobs][0], CPU[jobs][3], f"{DELAY[jobs][0]} s"] for jobs in REQUESTS]
    assert rows == rows_of("scale", "Waiting jobs")


def test_the_simulation_is_shown_beside_the_real_figures() -> None:
    real = [[jobs, REQUESTS[jobs][0], f"{DELAY[jobs][0]} s"] for jobs in REQUESTS]
    assert [[row[0], row[2], row[4]] for row in rows_of("scale", "Jobs that wait")] == real


def test_the_readme_counts_right() -> None:
    plain = " ".join(README.split())
    assert f"lose replies in {len(CRASHES) + len(LOST_REPLIES)} ways" in plain
    shown = {block.story for block in blocks_of(FOLDER / "troubleshooting.md") if block.story}
    assert f"has {len(shown)} of them" in plain


@pytest.mark.parametrize("version", ["3.1.8", "3.2.2", "3.3.2", "3.4.0b2"])
def test_the_versions_are_those_of_the_matrix(version: str) -> None:
    matrix = (REPOSITORY / "tests" / "e2e" / "matrix.py").read_text()
    assert f'Release("{version}"' in matrix
    assert matrix.count('Release("') == 4
    assert version in (FOLDER / "airflow-versions.md").read_text()
