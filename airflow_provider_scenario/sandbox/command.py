"""The command line: from arguments to a running server."""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sys
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from airflow_provider_scenario.sandbox.backend.identifiers import new_id
from airflow_provider_scenario.sandbox.backend.world import World
from airflow_provider_scenario.sandbox.settings import Settings, SettingsError
from airflow_provider_scenario.sandbox.web.application import build
from airflow_provider_scenario.sandbox.web.connection import BreakableProtocol
from airflow_provider_scenario.sandbox.web.control import connection_json, explain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DESCRIPTION = """An embedded Scenario for development and tests: the API, a CDN and real videos, on this machine.
No request leaves it and no money is ever spent."""


def run(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; gives the exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        if options.renderers < 1:
            raise SettingsError(f"--renderers must be 1 or more, not {options.renderers}")
    except (SettingsError, ValueError, TypeError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 2
    try:
        listener = _listen(options.host, options.port)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        print(f"sandbox: can't listen on {options.host!r}, port {options.port}: {reason or error}", file=sys.stderr)
        return 2
    with listener, tempfile.TemporaryDirectory(prefix="scenario-sandbox-") as temporary:
        directory = Path(options.data_directory or temporary)
        try:
            world = World(settings, directory, options.renderers)
        except OSError as error:
            print(f"sandbox: can't keep files in {str(directory)!r}: {error.strerror or error}", file=sys.stderr)
            return 2
        door = build(world, (options.api_key, options.api_secret), options.host)
        _announce(options, listener.getsockname()[1])
        _serve(_Server(_configuration(door)), listener, stop_with_stdin=options.stop_with_stdin)
        world.workers.shutdown(wait=True, cancel_futures=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_scenario.sandbox", description=DESCRIPTION)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--api-key", default=new_id("api"), help="key to ask for (default: a new one)")
    parser.add_argument("--api-secret", default=new_id("secret"), help="secret to ask for (default: a new one)")
    parser.add_argument("--data-directory", help="where files are kept (default: a temporary folder)")
    parser.add_argument("--renderers", type=int, default=1, help="videos made at once (default %(default)s)")
    parser.add_argument("--settings", default="{}", help="settings as one JSON object, besides the options below")
    parser.add_argument("--stop-with-stdin", action="store_true", help="stop when standard input is closed")
    group = parser.add_argument_group("settings, which can also be changed while it runs")
    for setting in fields(Settings):
        text = f"{setting.metadata['what']} (default {Settings().as_json()[setting.name]})"
        group.add_argument(f"--{setting.name.replace('_', '-')}", metavar="VALUE", help=text)
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    """Give the settings of the command line: JSON where it is JSON, else text; lists separated by commas."""
    values: dict[str, object] = dict(json.loads(options.settings))
    for setting in fields(Settings):
        text = getattr(options, setting.name)
        if text is not None:
            values[setting.name] = _value(text, is_list=isinstance(getattr(Settings(), setting.name), tuple))
    return Settings().changed(values)


def _value(text: str, *, is_list: bool) -> object:
    if is_list:
        return [item for item in text.split(",") if item]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _listen(host: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
    return socket.create_server((host, port), family=family, backlog=2048)


def _announce(options: argparse.Namespace, port: int) -> None:
    """One line of JSON for programs, a few words for people."""
    shown_host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.host, options.host)  # noqa: S104
    address = f"http://[{shown_host}]:{port}" if ":" in shown_host else f"http://{shown_host}:{port}"
    base_url = f"{address}/v1"
    print(json.dumps(explain(base_url, options.api_key, options.api_secret, f"{address}/sandbox")), flush=True)
    connection = connection_json(base_url, options.api_key, options.api_secret)
    print(
        f"The Scenario sandbox listens on {base_url}; no money is spent here. Point Airflow at it with\n\n"
        f"    export AIRFLOW_CONN_SCENARIO_DEFAULT='{connection}'\n\n"
        f"What was charged: {address}/sandbox/ledger. Stop it with Ctrl-C.",
        file=sys.stderr,
        flush=True,
    )


def _configuration(door: object) -> uvicorn.Config:
    return uvicorn.Config(
        door,  # type: ignore[arg-type]
        http=BreakableProtocol,
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
        date_header=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )


class _Server(uvicorn.Server):
    """A server that ends by returning: Uvicorn's own raises the signal anew, and the files would be left behind."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _serve(server: uvicorn.Server, listener: socket.socket, *, stop_with_stdin: bool) -> None:
    def watch() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        server.should_exit = True

    if stop_with_stdin:
        threading.Thread(target=watch, daemon=True).start()
    server.run(sockets=[listener])
