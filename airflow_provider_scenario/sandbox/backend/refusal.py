"""A request that Scenario answers with an error."""

from __future__ import annotations


class RefusalError(Exception):
    """Say no, with an HTTP status, a ``reason`` and whatever else belongs into the error body."""

    def __init__(self, status: int, reason: str, **more: object) -> None:
        super().__init__(reason)
        self.status = status
        self.body: dict[str, object] = {"reason": reason, **more}


def not_found(what: str, identifier: str) -> RefusalError:
    """Give the refusal for something that does not exist, or that this project may not see."""
    return RefusalError(404, f"{what} {identifier} not found")
