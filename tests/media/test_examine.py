"""What a file holds and how long it plays: by its bytes, whatever its name says."""

from __future__ import annotations

import io
import os
import random
import resource
import struct
import time
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_scenario.exceptions import ScenarioFileError
from airflow_provider_scenario.files.source import find_source
from airflow_provider_scenario.media.examine import Media, examine
from airflow_provider_scenario.media.integrity import find_truncation
from airflow_provider_scenario.sandbox.clip import draw_clip, draw_image


def look(content: bytes) -> Media | None:
    return examine(io.BytesIO(content), len(content))


def facts(content: bytes) -> tuple[str, float | None] | None:
    media = look(content)
    return (media.content_type, media.duration) if media else None


# --- Real files


def make_sound(target: Path, codec: str, form: str, seconds: int = 2, **options: str) -> bytes:
    import av

    with av.open(str(target), "w", format=form, options=options) as made:
        stream = made.add_stream(codec, rate=48000)
        kind = "s16" if codec.startswith("pcm") or codec == "flac" else "fltp"
        for number in range(-(-seconds * 48000 // 960)):
            frame = av.AudioFrame(format=kind, layout="stereo", samples=960)
            frame.sample_rate, frame.pts = 48000, number * 960
            for plane in frame.planes:
                plane.update(os.urandom(plane.buffer_size) if kind == "s16" else bytes(plane.buffer_size))
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    return target.read_bytes()


def make_video(target: Path, codec: str, form: str, seconds: int = 2, **options: str) -> bytes:
    import av

    with av.open(str(target), "w", format=form, options=options) as made:
        stream = made.add_stream(codec, rate=16)
        stream.width = stream.height = 64
        stream.pix_fmt = {"prores_ks": "yuv422p10le", "mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        for number in range(16 * seconds):
            frame = av.VideoFrame(64, 64, stream.pix_fmt)
            frame.pts = number
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    return target.read_bytes()


SOUNDS = [
    ("aac", "ipod", {}, "audio/mp4"),
    ("aac", "mp4", {}, "audio/mp4"),
    ("aac", "mov", {}, "audio/mp4"),
    ("aac", "3gp", {}, "audio/mp4"),
    ("aac", "mp4", {"movflags": "frag_keyframe+empty_moov", "frag_duration": "500000"}, "audio/mp4"),
    ("libopus", "webm", {}, "audio/webm"),
    ("libopus", "matroska", {}, "audio/x-matroska"),
    ("libopus", "ogg", {}, "audio/ogg"),
    ("libmp3lame", "mp3", {}, "audio/mpeg"),
    ("libmp3lame", "mp3", {"write_xing": "0", "id3v2_version": "0"}, "audio/mpeg"),
    ("aac", "adts", {}, "audio/aac"),
    ("flac", "flac", {}, "audio/flac"),
    ("pcm_s16le", "wav", {}, "audio/wav"),
    ("pcm_s16le", "wav", {"rf64": "always"}, "audio/wav"),
    ("pcm_s16be", "aiff", {}, "audio/aiff"),
]
VIDEOS = [
    ("libx264", "mp4", {}, "video/mp4"),
    ("libx264", "mp4", {"movflags": "faststart"}, "video/mp4"),
    ("libx264", "mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}, "video/mp4"),
    ("libx264", "mp4", {"movflags": "dash"}, "video/mp4"),
    ("libx264", "mov", {}, "video/quicktime"),
    ("libx264", "matroska", {}, "video/x-matroska"),
    ("libvpx", "webm", {}, "video/webm"),
    ("libvpx-vp9", "webm", {}, "video/webm"),
    ("mpeg4", "avi", {}, "video/x-msvideo"),
    ("prores_ks", "mov", {}, "video/quicktime"),
]


@pytest.mark.parametrize(("codec", "form", "options", "content_type"), SOUNDS, ids=str)
def test_sounds(tmp_path: Path, codec: str, form: str, options: dict[str, str], content_type: str) -> None:
    content = make_sound(tmp_path / "sound", codec, form, **options)
    found = facts(content)
    assert found is not None
    assert found[0] == content_type
    assert found[1] == pytest.approx(2.0, abs=0.1)
    assert find_truncation(io.BytesIO(content), len(content)) is None


@pytest.mark.parametrize(("codec", "form", "options", "content_type"), VIDEOS, ids=str)
def test_videos(tmp_path: Path, codec: str, form: str, options: dict[str, str], content_type: str) -> None:
    content = make_video(tmp_path / "video", codec, form, **options)
    found = facts(content)
    assert found is not None
    assert found[0] == content_type
    assert found[1] == pytest.approx(2.0, abs=0.07)
    assert find_truncation(io.BytesIO(content), len(content)) is None


def test_a_transport_stream_has_no_length_in_its_head(tmp_path: Path) -> None:
    content = make_video(tmp_path / "clip.ts", "mpeg2video", "mpegts")
    assert facts(content) == ("video/mp2t", None)
    packets = [content[place : place + 188] for place in range(0, len(content), 188)]
    assert facts(b"".join(b"\0\0\0\x01" + packet for packet in packets)) == ("video/mp2t", None)


@pytest.mark.parametrize("brand", [b"mp42", b"isom", b"3gp4", b"M4A ", b"dash", b"iso6", b"what"])
def test_the_tracks_count_not_the_brand(tmp_path: Path, brand: bytes) -> None:
    sound = make_sound(tmp_path / "sound", "aac", "mp4")
    video = make_video(tmp_path / "video", "libx264", "mp4")
    for content, kind in ((sound, "audio"), (video, "video")):
        media = look(content[:8] + brand + content[12:])
        assert media is not None
        assert (media.kind, media.content_type) == (kind, f"{kind}/mp4")


def test_voice_memos_of_phones() -> None:
    assert facts(b"#!AMR\n" + b"\x3c" + bytes(31)) == ("audio/amr", None)
    assert facts(b"#!AMR-WB\n" + b"\x44" + bytes(60)) == ("audio/amr-wb", None)


def test_odd_beginnings(tmp_path: Path) -> None:
    sound = make_sound(tmp_path / "sound", "pcm_s16le", "wav", rf64="always")
    assert facts(b"BW64" + sound[4:]) == ("audio/wav", 2.0)
    movie = make_video(tmp_path / "video", "libx264", "mp4")
    assert facts(box(b"free", b"") + movie) == ("video/mp4", 2.0)
    old = sparse(tmp_path / "old.mov", struct.pack(">I4s", 0x23C34600, b"mdat"), 0x23C34600)  # "#" begins its length
    with old.open("ab") as file:
        file.write(movie[movie.index(b"moov") - 4 :])
    found = find_source(str(old))
    assert (found.media.content_type, found.media.duration) == ("video/quicktime", 2.0)


def test_a_chapter_picture_makes_no_video_of_an_audio_book(tmp_path: Path) -> None:
    import av

    both = tmp_path / "both.mp4"
    with av.open(str(both), "w") as made:
        voice, pictures = made.add_stream("aac", rate=48000), made.add_stream("libx264", rate=16)
        pictures.width = pictures.height = 64
        frame = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
        frame.sample_rate = 48000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        for stream, one in ((voice, frame), (pictures, av.VideoFrame(64, 64, "yuv420p"))):
            one.pts = 0
            made.mux(stream.encode(one))
            made.mux(stream.encode(None))
    content = bytearray(both.read_bytes())
    media = look(bytes(content))
    assert media is not None
    assert media.kind == "video"
    second = content.index(b"tkhd", content.index(b"tkhd") + 4)
    content[second + 7] &= 0xFE  # not enabled
    media = look(bytes(content))
    assert media is not None
    assert media.kind == "audio"


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def picture(major: bytes, *others: bytes) -> bytes:
    handler = box(b"hdlr", bytes(8) + b"pict" + bytes(13))
    return box(b"ftyp", major + bytes(4) + b"".join(others)) + box(b"meta", bytes(4) + handler) + box(b"mdat", b"x")


@pytest.mark.parametrize(
    ("brands", "content_type"),
    [
        ((b"avif", b"mif1"), "image/avif"),
        ((b"mif1", b"avif", b"miaf"), "image/avif"),
        ((b"miaf", b"MA1B", b"avif"), "image/avif"),
        ((b"avis", b"msf1"), "image/avif"),
        ((b"heic", b"mif1"), "image/heic"),
        ((b"mif1", b"heix"), "image/heic"),
        ((b"isom", b"heic"), "image/heic"),
        ((b"mif1", b"miaf"), "image/heif"),
        ((b"mp42", b"isom"), None),
    ],
)
def test_pictures_by_any_of_their_brands(brands: tuple[bytes, ...], content_type: str | None) -> None:
    assert facts(picture(*brands)) == ((content_type, None) if content_type else None)


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_images(tmp_path: Path, ending: str) -> None:
    content = draw_image(tmp_path / f"image.{ending}", width=64, height=48).read_bytes()
    assert facts(content) == (f"image/{ending.replace('jpg', 'jpeg')}", None)


@pytest.mark.parametrize(
    "content",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b'<ns0:svg xmlns:ns0="http://www.w3.org/2000/svg"/>',
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn --><svg\nwidth="1"/>',
        b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://x"><svg></svg>',
        b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "b">]>\n<svg:svg xmlns:svg="x"></svg:svg>',
        '<?xml version="1.0" encoding="utf-16"?><svg/>'.encode("utf-16"),
    ],
)
def test_drawings(content: bytes) -> None:
    assert facts(content) == ("image/svg+xml", None)


TEXTS = [
    b"<html><body><svg></svg></body></html>",
    b"<!DOCTYPE html><svg></svg>",
    b"<!-- <svg> --><p>text</p>",
    b"how to write <svg ...>",
    b"<svgx></svgx>",
    b"hello\n",
    b"root:x:0:0:root:/root:/bin/bash\n" * 20,
    b"the moov box comes first, then the mdat box",
    b"see ftypisom and ftypavif for brands",
    b"RIFF files: WAVE and AVI ",
    b"RIFF\x24\0\0\0WAVE is the beginning of a sound",
    b"RIFFabcdWEBP is the beginning of an image",
    b"FORM    AIFF",
    b"OggS is a container",
    b"ID3 tags\n" * 50,
    b"ID3\x04\0\0\0\0\0\0 and then a text",
    b"BM is what a bitmap begins with, and some more text",
    b"GIF is what it begins with",
    b"GIF89a is what it begins with\npassword=hunter2\n",
    b"GIF87a;\nDB_PASSWORD=hunter2;",
    b"#!AMR\necho a shell script of that name\n",
    b"GOD SAVE THE QUEEN, IN LINES OF ONE LENGTH".ljust(187) * 1 + b"\n" + (b"G".ljust(187) + b"\n") * 6,
    "GIF89a hält, was es verspricht".encode(),
    b"fLaC",
    b"G" + b"a list" * 200,
    b"\xff\xfb\x90\0 not a frame" * 9,
    b"%PDF-1.7\n",
    b"PK\x03\x04 a zip",
    b"\x7fELF\x02\x01\x01",
    b"#!/bin/sh\nexit 0\n",
    b'{"json": true}',
    bytes(5000),
    b"",
]
NAMES = ["clip.mp4", "a.MOV", "x.mp3", "image.png", "v.webm", "v.mkv", "s.svg", "w.wav", "noname", "t.ts"]


@pytest.mark.parametrize("content", TEXTS, ids=range(len(TEXTS)))
def test_a_text_is_no_media_whatever_its_name(content: bytes, tmp_path: Path) -> None:
    assert look(content) is None
    for name in NAMES:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ScenarioFileError, match=r"Nothing was uploaded"):
            find_source(str(tmp_path / name))


# --- Lengths that are not true


def wave_file(said: int, data: int, sound: int, rate: int = 8000) -> bytes:
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, rate, 1, 8)
    return b"RIFF" + struct.pack("<I", said) + b"WAVEfmt " + form + b"data" + struct.pack("<I", data) + bytes(sound)


@pytest.mark.parametrize("said", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFDB, 0xFFFFF000])
def test_a_pipe_s_length_is_that_of_the_file(said: int) -> None:
    assert facts(wave_file(said, said, 24_000)) == ("audio/wav", 3.0)


def test_what_follows_the_sound_is_no_sound() -> None:
    content = wave_file(8044, 8000, 8000) + b"LIST" + struct.pack("<I", 4) + b"INFO"
    assert facts(content) == ("audio/wav", 1.0)


def test_a_movie_that_says_more_than_its_tracks(tmp_path: Path) -> None:
    content = bytearray(draw_clip(tmp_path / "clip.mp4", seconds=1, width=64, height=64).read_bytes())
    place = content.index(b"mvhd") + 20
    assert facts(bytes(content)) == ("video/mp4", pytest.approx(1.0, abs=0.01))
    content[place : place + 4] = (48_695_000).to_bytes(4, "big")
    assert facts(bytes(content)) == ("video/mp4", None)


@pytest.mark.parametrize(("codec", "form"), [("libopus", "webm"), ("libopus", "ogg"), ("flac", "flac")])
def test_a_sound_that_says_more_than_it_can_hold(tmp_path: Path, codec: str, form: str) -> None:
    content = bytearray(make_sound(tmp_path / "sound", codec, form))
    if form == "webm":
        place = content.index(b"\x44\x89\x88") + 3
        content[place : place + 8] = struct.pack(">d", 4e9)
    elif form == "ogg":
        place = content.rindex(b"OggS") + 6
        content[place : place + 8] = (1 << 50).to_bytes(8, "little")
    else:
        content[21:26] = bytes([content[21] | 0x0F, 255, 255, 255, 255])
    media = look(bytes(content))
    assert media is not None
    assert (media.kind, media.duration) == ("audio", None)


def test_a_sound_that_says_it_is_slower_than_any(tmp_path: Path) -> None:
    wave_file = bytearray(make_sound(tmp_path / "sound", "pcm_s16le", "wav"))
    place = wave_file.index(b"fmt ") + 12
    wave_file[place : place + 4] = (1).to_bytes(4, "little")
    assert facts(bytes(wave_file)) == ("audio/wav", None)
    movie = bytearray(make_sound(tmp_path / "sound", "aac", "mp4"))
    for name in (b"mvhd", b"mdhd"):
        place = movie.index(name) + 16
        movie[place : place + 4] = (1).to_bytes(4, "big")
    assert facts(bytes(movie)) == ("audio/mp4", None)


def test_millions_of_frames_are_not_counted() -> None:
    frame = bytes([0xFF, 0xF1, 0x50, 0x80, 0x00, 0xFF, 0xFC])
    assert facts(frame * 1000) == ("audio/aac", pytest.approx(1000 * 1024 / 44100, abs=0.03))
    assert facts(frame * 6_000_000) == ("audio/aac", None)


def test_an_info_frame_counts_as_no_sound_and_tags_as_an_end(tmp_path: Path) -> None:
    content = make_sound(tmp_path / "sound", "libmp3lame", "mp3", seconds=10)
    assert facts(content) == ("audio/mpeg", pytest.approx(10.0, abs=0.1))
    assert facts(content + b"TAG" + bytes(125)) == ("audio/mpeg", pytest.approx(10.0, abs=0.1))
    assert facts(content[: len(content) // 2]) == ("audio/mpeg", pytest.approx(5.0, abs=0.2))
    assert facts(content + b"something else") == ("audio/mpeg", None)


def sparse(path: Path, head: bytes, size: int) -> Path:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


TYPE = b"\0\0\0\x18ftypmp42" + bytes(12)
SEGMENT = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 7
HOSTILE = {
    "a format chunk of 1.5 GB": (
        b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + struct.pack("<I", 1_500_000_000),
        1_600_000_000,
    ),
    "a box of 2**62 bytes": (TYPE + struct.pack(">I4sQ", 1, b"free", 2**62), 1000),
    "a box of 2**63 bytes": (TYPE + struct.pack(">I4sQ", 1, b"free", 2**63 + 10), 1000),
    "a box of 4 bytes": (TYPE + struct.pack(">I4s", 4, b"free"), 1000),
    "a million boxes": (TYPE + struct.pack(">I4s", 8, b"free") * 1_000_000, 8_000_024),
    "an index of 2 GB": (TYPE + struct.pack(">I4s", 2_000_000_000, b"moov") + box(b"mvhd", bytes(100)), 2_100_000_000),
    "a table of 2**32 rows": (
        TYPE
        + box(b"moov", box(b"trak", box(b"mdia", box(b"minf", box(b"stbl", box(b"stco", b"\0\0\0\0" + b"\xff" * 8)))))),
        10_000,
    ),
    "a tag of 256 MB": (b"ID3\x03\0\0\x7f\x7f\x7f\x7f", 300_000_000),
    "a hundred MB of tags": (b"ID3\x04\0\0\0\0\0\0" * 10_000_000, 100_000_000),
    "frames, then nothing": (b"\xff\xfb\x90\0", 300_000_000),
    "an element of 2**56 bytes": (b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 6 + b"\xfe", 1000),
    "a million elements": (
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01" + b"\xff" * 7 + b"\xec\x80" * 1_000_000,
        3_000_000,
    ),
    "a drawing without an end": (b"<!DOCTYPE svg [" + b"<!--" * 10_000, 65_536),
    "many comments": (b"<!---->" * 9_000, 70_000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_head_costs_memory_or_time(tmp_path: Path, name: str) -> None:
    head, size = HOSTILE[name]
    path = sparse(tmp_path / "file.mp4", head, size)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ScenarioFileError, match="Nothing was uploaded"):
        find_source(str(path))
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


@given(
    st.binary(max_size=200),
    st.sampled_from(
        [b"", TYPE, b"RIFF\0\0\0\0WAVE", b"OggS\0", b"ID3\x03\0\0\0\0\0\0", b"\x1a\x45\xdf\xa3", b"fLaC\0"]
    ),
)
def test_no_noise_ends_the_task(noise: bytes, head: bytes) -> None:
    media = look(head + noise)
    assert media is None or media.duration is None or media.duration > 0
    find_truncation(io.BytesIO(head + noise), len(head + noise))


def test_no_damage_ends_the_task(tmp_path: Path) -> None:
    """Real files with some bytes changed or cut: a length that is told is never longer than the file can bear out."""
    good = [make_sound(tmp_path / "a", codec, form, **options) for codec, form, options, _ in SOUNDS] + [
        make_video(tmp_path / "v", codec, form, **options) for codec, form, options, _ in VIDEOS
    ]
    chance = random.Random(14)
    for _ in range(4000):
        content = bytearray(chance.choice(good))
        for _ in range(chance.choice((1, 2, 8))):
            content[chance.randrange(min(len(content), 3000))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        damaged = bytes(content[: chance.randrange(len(content))] if chance.random() < 0.3 else content)
        media = look(damaged)
        assert media is None or media.duration is None or media.duration > 0
        find_truncation(io.BytesIO(damaged), len(damaged))


def test_sound_of_the_standard_library() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(2)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0" * 4 * 8000 * 3)
    assert facts(file.getvalue()) == ("audio/wav", 3.0)
