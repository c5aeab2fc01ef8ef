"""Every request passes here first: it is counted, given the server's date, and harmed if a fault was ordered for it."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

from airflow_provider_scenario.sandbox.web.connection import client_gone, connection_of
from airflow_provider_scenario.sandbox.web.faults import FaultBook
from airflow_provider_scenario.sandbox.web.traffic import Traffic, Visit

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from airflow_provider_scenario.sandbox.backend.clock import Clock

TRICKLES_PER_SECOND = 10
ENDLESS_BODY = 1 << 62


class FrontDoor:
    """The outermost layer of the application."""

    def __init__(self, application: ASGIApp, clock: Clock, route_of: Callable[[str, str], str]) -> None:
        self.application = application
        self.clock = clock
        self.route_of = route_of
        self.traffic = Traffic()
        self.faults = FaultBook()

    def reset(self) -> None:
        """Forget all traffic and all faults."""
        self.traffic, self.faults = Traffic(), FaultBook()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith("/sandbox"):
            await self.application(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        with_key = any(name == b"authorization" for name, _ in scope["headers"])
        visit = self.traffic.note(method, self.route_of(method, path), path, with_key=with_key)

        async def noting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                visit.status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"date", self.clock.date_header().encode())]
            await send(message)

        action = self.faults.find(method, path, scope["query_string"].decode("latin-1"))
        if action is None:
            await self.application(scope, receive, noting_send)
        else:
            visit.fault = action["type"]
            await _Harm(self.application, scope, receive, noting_send, visit).apply(action)


class _Harm:
    """One request to which one fault happens."""

    def __init__(self, application: ASGIApp, scope: Scope, receive: Receive, send: Send, visit: Visit) -> None:
        self.application = application
        self.scope = scope
        self.receive = receive
        self.send = send
        self.visit = visit

    async def apply(self, action: dict[str, Any]) -> None:
        kind = action["type"]
        if kind == "delay":
            await self._delay(action)
        elif kind == "hang":
            await self._hang(action)
        elif kind in ("drop_before", "drop_after"):
            # A connection closed with a body unread would be reset in any case.
            await (self._carry_out() if kind == "drop_after" else self._read_request())
            connection_of(self.scope).drop(reset=action["reset"])
            await client_gone(self.receive)
        elif kind == "status":
            await self._read_request()
            await self._answer(action)
        elif kind == "status_after":
            await self._carry_out()
            await self._answer(action)
        else:
            await self._spoil_body(action)

    async def _read_request(self) -> None:
        while (await self.receive()).get("more_body"):
            pass

    async def _carry_out(self) -> list[Message]:
        """Do what was asked, and keep the reply back."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self.application(self.scope, self.receive, keep)
        return messages

    async def _delay(self, action: dict[str, Any]) -> None:
        if action["when"] == "before":
            await asyncio.sleep(action["seconds"])
            await self.application(self.scope, self.receive, self.send)
            return
        messages = await self._carry_out()
        await asyncio.sleep(action["seconds"])
        for message in messages:
            await self.send(message)

    async def _hang(self, action: dict[str, Any]) -> None:
        if action["when"] == "after":
            await self._carry_out()
        await client_gone(self.receive)

    async def _answer(self, action: dict[str, Any]) -> None:
        body, kind = action["body"], b"text/html; charset=utf-8"
        if not isinstance(body, str):
            body, kind = json.dumps(body), b"application/json"
        data = body.encode()
        headers = {b"content-type": kind, b"content-length": str(len(data)).encode()}
        headers |= {name.lower().encode(): str(value).encode() for name, value in action["headers"].items()}
        await self.send({"type": "http.response.start", "status": action["code"], "headers": list(headers.items())})
        await self.send({"type": "http.response.body", "body": data})

    async def _spoil_body(self, action: dict[str, Any]) -> None:
        """Let the application answer, and pass its reply on through a spoiler."""
        spoiler = _Spoiler(action, self.send)
        await self.application(self.scope, self.receive, spoiler.send)
        if spoiler.cut:
            connection_of(self.scope).close_after_sending()
            await client_gone(self.receive)


class _Spoiler:
    """Passes on a reply whose body ends early, tells a wrong length, or comes slowly."""

    def __init__(self, action: dict[str, Any], send: Send) -> None:
        self.action = action
        self.kind = action["type"]
        self.pass_on = send
        self.left = ENDLESS_BODY
        self.cut = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._start(message)
        elif not self.cut and self.left >= 0:
            await self._body(message.get("body", b""), bool(message.get("more_body")))

    async def _start(self, message: Message) -> None:
        headers = dict(message["headers"])
        length = int(headers.get(b"content-length", 0))
        if self.kind == "cut_body":
            self.left = length // 2 if self.action["bytes"] is None else self.action["bytes"]
        elif self.kind == "cut_at":
            drawn = random.Random(self.action["seed"]).randrange(max(length, 1))
            self.left = drawn if self.action["byte"] is None else self.action["byte"]
        elif self.kind == "wrong_length":
            headers[b"content-length"] = str(length + self.action["by"]).encode()
            self.left = length
        elif self.kind == "short_body":
            self.left = min(length // 2 if self.action["bytes"] is None else self.action["bytes"], length)
            headers[b"content-length"] = str(self.left).encode()
        await self.pass_on({**message, "headers": list(headers.items())})

    async def _body(self, data: bytes, more: bool) -> None:
        if self.kind == "trickle":
            await self._trickle(data, more)
            return
        passed = data[: self.left]
        self.left -= len(passed)
        whole = self.kind == "short_body"
        over = self.left == 0 and self.kind != "wrong_length"
        if self.kind == "wrong_length" and not more:
            over = True
        await self.pass_on(
            {"type": "http.response.body", "body": passed, "more_body": not (over and whole) and (more or over)}
        )
        if over:
            self.cut = not whole
            self.left = -1

    async def _trickle(self, data: bytes, more: bool) -> None:
        step = max(int(self.action["bytes_per_second"] / TRICKLES_PER_SECOND), 1)
        for start in range(0, len(data), step):
            await self.pass_on({"type": "http.response.body", "body": data[start : start + step], "more_body": True})
            await asyncio.sleep(step / self.action["bytes_per_second"])
        if not more:
            await self.pass_on({"type": "http.response.body", "body": b"", "more_body": False})
