"""The triggerer asks in a thread of its own, which never holds up anybody else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from airflow_provider_scenario.api import calls
from airflow_provider_scenario.api.client import ClientThread
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.api.retry import RetryConfig
from tests.api.scripted_server import Answer, Request, ScriptedServer, in_turn, scripted

ONCE = RetryConfig(attempts=1)
NO_MODELS = Answer(body=b'{"models": []}')


def client_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("scenario-client")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    until = time.monotonic() + 30
    while client_threads() and time.monotonic() < until:
        time.sleep(0.01)
    assert client_threads() == []


def access_to(server: ScriptedServer, timeout: float = 30) -> ClientConfig:
    return ClientConfig("key", "secret", f"{server.url}/v1", timeout=timeout)


def test_the_loop_goes_on_while_scenario_is_slow() -> None:
    async def wait(config: ClientConfig) -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        async with ClientThread(config, ONCE) as client:
            await client.send(calls.list_models())
            assert len(client_threads()) == 1
        ticking.cancel()
        return ticks

    with scripted(Answer(body=b'{"models": []}', stall=0.5)) as server:
        assert asyncio.run(wait(access_to(server))) > 10


def test_a_reply_that_does_not_come_holds_up_no_later_call() -> None:
    async def wait(config: ClientConfig) -> float:
        async with ClientThread(config, ONCE) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.send(calls.list_models()), 0.2)
            started = time.monotonic()
            assert await asyncio.wait_for(client.send(calls.list_models()), 5) == ()
            return time.monotonic() - started

    with scripted(in_turn(Answer(stall=30), NO_MODELS)) as server:
        assert asyncio.run(wait(access_to(server))) < 20
        assert len(server.requests) == 2


def test_closing_waits_for_nothing() -> None:
    async def wait(config: ClientConfig) -> float:
        client = ClientThread(config, ONCE)
        sending = asyncio.create_task(client.send(calls.list_models()))
        await asyncio.sleep(0.2)
        started = time.monotonic()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await client.close()
        return time.monotonic() - started

    with scripted(Answer(stall=30)) as server:
        assert asyncio.run(wait(access_to(server))) < 10


def test_neither_the_loops_threads_nor_airflows_are_used() -> None:
    """They may all be busy with somebody else's work."""
    from asgiref.sync import sync_to_async

    async def wait(config: ClientConfig) -> None:
        loop = asyncio.get_running_loop()
        is_over = threading.Event()
        busy = [asyncio.create_task(sync_to_async(is_over.wait)(30.0))]
        busy += [asyncio.ensure_future(loop.run_in_executor(None, is_over.wait, 30.0)) for _ in range(40)]
        try:
            async with ClientThread(config, ONCE) as client:
                await client.send(calls.list_models())
                assert not any(one.done() for one in busy)
        finally:
            is_over.set()
            await asyncio.gather(*busy)

    with scripted(NO_MODELS) as server:
        asyncio.run(wait(access_to(server)))


def test_the_wait_between_two_attempts_can_be_cancelled() -> None:
    async def wait(config: ClientConfig) -> None:
        async with ClientThread(config, RetryConfig(attempts=5, first_wait=20)) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await client.send(calls.list_models())

    with scripted(Answer(500)) as server:
        asyncio.run(wait(access_to(server)))
        assert len(server.requests) == 1


def test_one_connection_is_used_again() -> None:
    ports: set[str] = set()

    def note(request: Request) -> Answer:
        ports.add(request.headers["host"])
        return NO_MODELS

    async def wait(config: ClientConfig) -> None:
        async with ClientThread(config, ONCE) as client:
            threads = set()
            for _ in range(5):
                await client.send(calls.list_models())
                threads |= {thread.ident for thread in client_threads()}
            assert len(threads) == 1

    with scripted(note) as server:
        asyncio.run(wait(access_to(server)))
