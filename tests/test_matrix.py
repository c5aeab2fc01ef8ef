"""What `make matrix` says where it can't begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e import matrix

if TYPE_CHECKING:
    import pytest


def test_no_uv_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def find_uv() -> None:
        raise matrix.UnavailableError("uv can't be installed: no network")

    monkeypatch.setattr(matrix, "find_uv", find_uv)
    monkeypatch.setattr("sys.argv", ["matrix.py", "--quick"])
    assert matrix.main() == 1
    assert capsys.readouterr().out == "WRONG uv can't be installed: no network\n"
