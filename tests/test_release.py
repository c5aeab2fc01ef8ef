"""A release is built, checked, and published to an index that the test starts; what arrives is what was built."""

from __future__ import annotations

import email
import email.policy
import shutil
import subprocess
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_scenario import __version__
from tests.e2e.debian import install_package
from tools.release import REPOSITORY, NotReadyError, release, with_absolute_links

HOME = "https://repository.example.com/somebody/airflow-provider-scenario"


class Index(ThreadingHTTPServer):
    """Takes what twine uploads."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Upload)
        self.files: dict[str, bytes] = {}
        self.fields: list[dict[str, str]] = []
        self.users: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/legacy/"


class Upload(BaseHTTPRequestHandler):
    """One upload: a form with the file and its metadata."""

    server: Index

    def do_POST(self) -> None:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
        fields: dict[str, str] = {}
        for part in form.iter_parts():
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            if part.get_filename():
                self.server.files[str(part.get_filename())] = content
            else:
                fields[str(part.get_param("name", header="content-disposition"))] = content.decode()
        self.server.fields.append(fields)
        self.server.users.add(self.headers["Authorization"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The repository as it is on the day of a release."""
    folder = tmp_path / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if name.startswith(("airflow_provider_scenario/", "dags_examples/")) or "/" not in name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    changelog = folder / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("## Unreleased", f"## {__version__} (2026-11-30)"))
    for command in (["git", "init", "-q"], ["git", "add", "-A"]):
        subprocess.run(command, cwd=folder, check=True)
    return folder


def test_what_is_published_is_what_was_built(
    index: Index, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWINE_USERNAME", "publisher")
    monkeypatch.setenv("TWINE_PASSWORD", "of the test")
    files = release(source, tmp_path / "dist", repository_url=HOME, index_url=index.url, tag=f"v{__version__}")
    wheel, sdist = sorted(files, key=lambda file: file.suffix, reverse=True)
    assert (wheel.suffix, sdist.name) == (".whl", f"airflow_provider_scenario-{__version__}.tar.gz")
    assert index.files == {file.name: file.read_bytes() for file in files}
    assert {fields["version"] for fields in index.fields} == {__version__}
    assert None not in index.users

    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        metadata = email.message_from_bytes(content.read(f"airflow_provider_scenario-{__version__}.dist-info/METADATA"))
    assert "airflow_provider_scenario/py.typed" in names
    assert any(name.startswith("airflow_provider_scenario/api/records/") for name in names)
    assert not any(name.startswith(("tests/", "tools/", "docs/")) for name in names)
    readme = str(metadata.get_payload())
    assert f"{HOME}/blob/v{__version__}/docs/quick-start.md" in readme
    assert "](docs/" not in readme
    assert f"Source, {HOME}" in metadata.get_all("Project-URL", [])


@pytest.fixture
def signing_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A key that gpg holds, without a passphrase."""
    if shutil.which("gpg") is None:
        install_package("gnupg")
    # In a short folder: gpg's agent listens on a socket there, whose path may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        monkeypatch.setenv("GNUPGHOME", home)
        making = [
            "gpg",
            "--batch",
            "--passphrase",
            "",
            "--quick-generate-key",
            "release@example.com",
            "ed25519",
            "sign",
        ]
        subprocess.run(making, check=True, capture_output=True)
        yield "release@example.com"
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], check=True)


def test_each_file_can_be_signed(source: Path, tmp_path: Path, signing_key: str) -> None:
    files = release(source, tmp_path / "dist", signing_key=signing_key)
    assert len(files) == 2
    for file in files:
        verify = ["gpg", "--verify", f"{file}.asc", str(file)]
        assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
        file.write_bytes(file.read_bytes() + b"x")
        assert subprocess.run(verify, capture_output=True, check=False).returncode != 0


def test_a_key_without_gpg_is_told_before_anything_is_built(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotReadyError, match="gpg is not installed"):
        release(source, tmp_path / "dist", signing_key="release@example.com")
    assert not (tmp_path / "dist").exists()


def test_a_version_without_a_date_is_not_published(index: Index, source: Path, tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "CHANGELOG.md", source / "CHANGELOG.md")
    (source / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")
    with pytest.raises(NotReadyError, match=r"CHANGELOG\.md has no heading"):
        release(source, tmp_path / "dist", repository_url=HOME, index_url=index.url)
    assert index.files == {}


def test_a_tag_of_another_version_is_not_published(index: Index, source: Path, tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match=r"The tag v9\.9\.9 is not that of version"):
        release(source, tmp_path / "dist", repository_url=HOME, index_url=index.url, tag="v9.9.9")
    assert index.files == {}


def test_nothing_is_published_with_dead_links(index: Index, source: Path, tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match="REPOSITORY_URL"):
        release(source, tmp_path / "dist", index_url=index.url)
    assert index.files == {}


@pytest.mark.parametrize(
    ("link", "absolute"),
    [
        ("[a](docs/a.md#b)", f"[a]({HOME}/blob/v1/docs/a.md#b)"),
        ("![a](docs/a.png)", f"![a]({HOME}/raw/v1/docs/a.png)"),
        ("[a](https://example.com/a)", "[a](https://example.com/a)"),
        ("[a](#b)", "[a](#b)"),
    ],
)
def test_links(link: str, absolute: str) -> None:
    assert with_absolute_links(link, HOME, "v1") == absolute
