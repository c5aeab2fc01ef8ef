"""The client as a worker and as a triggerer use it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Protocol, TypeVar

import pytest

from airflow_provider_scenario.api.calls import Call
from airflow_provider_scenario.api.client import ClientThread, ScenarioClient
from airflow_provider_scenario.api.config import ClientConfig
from airflow_provider_scenario.api.retry import RetryConfig
from airflow_provider_scenario.sandbox.server import SandboxServer

T = TypeVar("T")

QUICK = RetryConfig(attempts=4, first_wait=0.01, longest_wait=0.05)


class Carrier(Protocol):
    """Sends one call with a client of its own."""

    def __call__(self, config: ClientConfig, call: Call[T], retry_config: RetryConfig = QUICK) -> T: ...


def carry_in_worker(config: ClientConfig, call: Call[T], retry_config: RetryConfig = QUICK) -> T:
    with ScenarioClient(config, retry_config) as client:
        return client.send(call)


def carry_in_triggerer(config: ClientConfig, call: Call[T], retry_config: RetryConfig = QUICK) -> T:
    async def send() -> T:
        async with ClientThread(config, retry_config) as client:
            return await client.send(call)

    return asyncio.run(send())


@pytest.fixture(params=[carry_in_worker, carry_in_triggerer], ids=["worker", "triggerer"])
def carry(request: pytest.FixtureRequest) -> Carrier:
    """Each test that asks for it runs either way."""
    carrier: Carrier = request.param
    return carrier


@pytest.fixture
def no_finalizers() -> Iterator[None]:
    """For a test that exhausts the stack: what other tests have left must not be tidied up there."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def config(sandbox: SandboxServer) -> ClientConfig:
    """The sandbox's own key."""
    return ClientConfig(sandbox.api_key, sandbox.api_secret, sandbox.base_url, timeout=10)
