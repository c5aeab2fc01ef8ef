"""A file that ends before its container says so is refused before anything is sent or bought."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_scenario.exceptions import ScenarioFileError, ScenarioInputError
from airflow_provider_scenario.media.integrity import Truncation, find_truncation
from airflow_provider_scenario.operators.wan import ScenarioWan22ReframeOperator
from airflow_provider_scenario.sandbox.clip import draw_clip, draw_image
from airflow_provider_scenario.sandbox.server import SandboxServer
from airflow_provider_scenario.transfers.object_storage_to_scenario import ObjectStorageToScenarioOperator
from tests.task_run import TaskRun


def truncation(content: bytes) -> Truncation | None:
    return find_truncation(io.BytesIO(content), len(content))


def convert(source: Path, target: Path, format_name: str, **options: str) -> Path:
    """Put a clip's video into another container."""
    import av

    with av.open(str(source)) as given, av.open(str(target), "w", format=format_name, options=options) as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    return target


def draw_avi(target: Path) -> Path:
    import av

    with av.open(str(target), "w") as made:
        stream = made.add_stream("mpeg4", rate=16)
        stream.width = stream.height = 64
        for _ in range(16):
            made.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        made.mux(stream.encode(None))
    return target


def draw_bitmap(width: int, height: int) -> bytes:
    """A bitmap of 24 bits, whose lines are padded to four bytes."""
    pixels = bytes([7]) * ((width * 24 + 31) // 32 * 4 * height)
    header = struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + header + pixels


def draw_tiff(order: str, strips: int, kind: int) -> bytes:
    """A grey picture of 64 pixels a line in strips of 10 lines; the index comes first."""
    width = 2 if kind == 3 else 4
    tables, pixels = 8 + 2 + 5 * 12 + 4, 640
    first = tables + 2 * strips * width
    entries = [(256, 3, 1, 64), (257, 3, 1, 10 * strips), (273, kind, strips, tables), (278, 3, 1, 10)]
    entries.append((279, kind, strips, tables + strips * width))
    content = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(entries))
    for tag, form, count, value in entries:
        shown = struct.pack(f"{order}HH", value, 0) if form == 3 and count == 1 else struct.pack(f"{order}I", value)
        content += struct.pack(f"{order}HHI", tag, form, count) + shown
    letter = "H" if kind == 3 else "I"
    places = [first + number * pixels for number in range(strips)]
    content += bytes(4) + struct.pack(f"{order}{2 * strips}{letter}", *places, *[pixels] * strips)
    return content + bytes([99]) * (pixels * strips)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_clip(tmp_path_factory.mktemp("clips") / "plain.mp4", seconds=1, width=64, height=64)


@pytest.fixture(scope="module")
def files(plain: Path) -> dict[str, bytes]:
    """Whole files of each container."""
    folder = plain.parent
    made = {
        "plain.mp4": convert(plain, folder / "index_last.mp4", "mp4"),
        "fast.mp4": convert(plain, folder / "fast.mp4", "mp4", movflags="faststart"),
        "fragments.mp4": convert(plain, folder / "fragments.mp4", "mp4", movflags="frag_keyframe+empty_moov"),
        "clip.mov": convert(plain, folder / "clip.mov", "mov"),
        "clip.mkv": convert(plain, folder / "clip.mkv", "matroska"),
        "live.mkv": convert(plain, folder / "live.mkv", "matroska", live="1"),
        "clip.avi": draw_avi(folder / "clip.avi"),
        "image.png": draw_image(folder / "image.png", width=64, height=48),
        "image.jpg": draw_image(folder / "image.jpg", width=64, height=48),
    }
    drawn = {
        "image.bmp": draw_bitmap(33, 20),
        "intel.tiff": draw_tiff("<", 4, 4),
        "motorola.tiff": draw_tiff(">", 3, 3),
    }
    return {name: path.read_bytes() for name, path in made.items()} | drawn


NAMES = (
    *("plain.mp4", "fast.mp4", "fragments.mp4", "clip.mov", "clip.mkv", "clip.avi"),
    *("image.png", "image.jpg", "image.bmp", "intel.tiff", "motorola.tiff"),
)


@pytest.mark.parametrize("name", [*NAMES, "live.mkv"])
def test_a_whole_file_is_whole(files: dict[str, bytes], name: str) -> None:
    assert truncation(files[name]) is None


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_file_is_cut(files: dict[str, bytes], name: str) -> None:
    whole = files[name]
    for kept in {len(whole) * part // 20 for part in range(2, 20)} | {len(whole) - 40}:
        assert truncation(whole[:kept]) is not None, kept


def test_the_whole_size_is_told_where_the_file_tells_it(files: dict[str, bytes]) -> None:
    for name in ("clip.mkv", "clip.avi"):
        assert truncation(files[name][:3000]) == Truncation(len(files[name]))
    fast = files["fast.mp4"]
    assert truncation(fast[:3000]) == Truncation(len(fast))
    assert truncation(files["plain.mp4"][:3000]) == Truncation(files["plain.mp4"].index(b"moov") - 4, at_least=True)


def test_the_index_tells_what_an_open_box_does_not(files: dict[str, bytes]) -> None:
    """The box of the frames may reach to the end, wherever that is: then the index tells where the last frame ends."""
    fast = bytearray(files["fast.mp4"])
    place = fast.index(b"mdat") - 4
    fast[place : place + 4] = bytes(4)
    assert truncation(bytes(fast)) is None
    assert truncation(bytes(fast[:-1])) == Truncation(len(fast))
    assert truncation(bytes(fast[:3000])) == Truncation(len(fast))


@pytest.mark.parametrize("tail", [b"\0" * 64, b"TAG" + b"a song" * 20, b"\0\0\0", b"\n"])
def test_what_a_program_adds_at_the_end_is_no_cut(files: dict[str, bytes], tail: bytes) -> None:
    for name in ("plain.mp4", "fast.mp4", "clip.mov", "image.png", "image.jpg"):
        assert truncation(files[name] + tail) is None, name


def wave_file(said: int, data: int, sound: int = 8000) -> bytes:
    form = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    return b"RIFF" + struct.pack("<I", said) + b"WAVEfmt " + form + b"data" + struct.pack("<I", data) + bytes(sound)


@pytest.mark.parametrize("said", [0, (1 << 32) - 1, (1 << 31) - 1, 0x7FFFF024, 0x80000024, 0xFFFFFFD8])
def test_a_program_that_wrote_into_a_pipe_knew_no_length(said: int) -> None:
    assert truncation(wave_file(said, said)) is None


def test_a_sound_that_was_cut() -> None:
    assert truncation(wave_file(8036, 8000)) is None
    assert truncation(wave_file(8036, 8000, 3000)) == Truncation(8044)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_uploaded(
    sandbox: SandboxServer, scenario_connection: str, files: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(files[name][: len(files[name]) // 2])
    with pytest.raises(ScenarioFileError, match="is cut short: ") as refusal:
        ObjectStorageToScenarioOperator(task_id="send", source=str(path)).execute(TaskRun().context)
    assert f"{path.stat().st_size:,} " in str(refusal.value)
    assert sandbox.requests()["counts"] == {}


@pytest.mark.parametrize(("name", "says"), [("fast.mp4", r"3,000 of \d,"), ("plain.mp4", "3,000 of at least ")])
def test_no_job_is_bought_for_a_cut_clip(
    sandbox: SandboxServer, scenario_connection: str, files: dict[str, bytes], tmp_path: Path, name: str, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(files[name][:3000])
    operator: Any = ScenarioWan22ReframeOperator(task_id="reframe", video=str(path), poll_interval=0.1)
    with pytest.raises(ScenarioInputError, match=f"is cut short: {says}"):
        operator.execute(TaskRun().context)
    assert sandbox.ledger()["totals"]["jobs"] == 0
    assert not any("uploads" in route for route in sandbox.requests()["counts"])
