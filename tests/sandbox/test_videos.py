"""The videos are what was ordered: size, frames, rate, and what is to be seen in them."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import pytest

from airflow_provider_scenario.sandbox.clip import MediaFacts, draw_clip, draw_image, probe
from airflow_provider_scenario.sandbox.studio.filters import turned
from airflow_provider_scenario.sandbox.studio.geometry import Box, Size, frame_size, kept_part, source_place
from airflow_provider_scenario.sandbox.studio.media import first_frame
from airflow_provider_scenario.sandbox.studio.rendering import Order, SourceFile, render, render_tiny
from tests.media.test_examine import make_video
from tests.sandbox.asking import IMAGE_MODEL, OUTPAINTING, REFRAME, TEXT_MODEL, ended_job, made, original, submitted

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from airflow_provider_scenario.sandbox.server import SandboxServer

MATCHED = {"matchInputNumFrames": True, "matchInputFramesPerSecond": True, "resolution": "480p"}


@pytest.fixture
def real(quick: SandboxServer) -> SandboxServer:
    quick.configure(render="full")
    return quick


def frames(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return [frame.reformat(format="gray") for frame in container.decode(video=0)]


def luma(frame: av.VideoFrame, box: Box, size: Size) -> list[int]:
    """The brightness of a box of a grey frame, scaled to a size, row by row."""
    plane = frame.planes[0]
    rows = memoryview(plane).cast("B")
    line = plane.line_size
    return [
        rows[(box.top + row * box.height // size.height) * line + box.left + column * box.width // size.width]
        for row in range(size.height)
        for column in range(size.width)
    ]


def whole(frame: av.VideoFrame) -> Box:
    return Box(0, 0, frame.width, frame.height)


def difference(one: av.VideoFrame, one_box: Box, other: av.VideoFrame, other_box: Box) -> float:
    """The mean difference in brightness, 0 to 255, of two boxes sampled at 64x36 points."""
    grid = Size(64, 36)
    pairs = zip(luma(one, one_box, grid), luma(other, other_box, grid), strict=True)
    return sum(abs(first - second) for first, second in pairs) / (grid.width * grid.height)


def facts(path: Path) -> tuple[int | None, int | None, int | None, Fraction | None]:
    found = probe(path)
    assert (found.kind, found.codec) == ("video", "h264")
    return found.width, found.height, found.frames, found.rate


def test_outpainting_keeps_the_source_in_its_place(
    api: httpx.Client, real: SandboxServer, clip: Path, clip_id: str, tmp_path: Path
) -> None:
    inputs = {"prompt": "wider", "videoUrl": clip_id, "expandRatio": 0.5, "expandTop": False, "expandBottom": False}
    path = made(api, OUTPAINTING, {**inputs, **MATCHED}, tmp_path / "wide.mp4")
    # 640x360 becomes twice as wide: 32:9, and 480 high.
    assert facts(path) == (1706, 480, 24, 12)
    place = source_place({**inputs, "expandLeft": True, "expandRight": True}, Size(640, 360), Size(1706, 480))
    assert place == Box(426, 0, 852, 480)
    for source, widened in list(zip(frames(clip), frames(path), strict=True))[::6]:
        assert difference(source, whole(source), widened, place) < 6
        beside = Box(0, 0, 420, 480)
        assert difference(source, whole(source), widened, beside) > 12
        assert len(set(luma(widened, beside, Size(16, 9)))) > 8, "the new part is not empty"


def test_outpainting_on_one_side(
    api: httpx.Client, real: SandboxServer, clip: Path, clip_id: str, tmp_path: Path
) -> None:
    off = {"expandRight": False, "expandTop": False, "expandBottom": False}
    inputs = {"prompt": "x", "videoUrl": clip_id, "expandRatio": 1, **off, **MATCHED}
    path = made(api, OUTPAINTING, inputs, tmp_path / "left.mp4")
    assert facts(path)[:2] == (1706, 480)
    source, widened = frames(clip)[5], frames(path)[5]
    assert difference(source, whole(source), widened, Box(852, 0, 854, 480)) < 6


def test_outpainting_to_a_given_aspect_loses_nothing(
    api: httpx.Client, real: SandboxServer, clip: Path, clip_id: str, tmp_path: Path
) -> None:
    inputs = {"prompt": "x", "videoUrl": clip_id, "aspectRatio": "9:16", "expandRatio": 0, **MATCHED}
    path = made(api, OUTPAINTING, inputs, tmp_path / "tall.mp4")
    assert facts(path) == (480, 854, 24, 12)
    source, widened = frames(clip)[0], frames(path)[0]
    assert difference(source, whole(source), widened, Box(0, 292, 480, 270)) < 6


def test_outpainting_at_its_defaults(api: httpx.Client, real: SandboxServer, clip_id: str, tmp_path: Path) -> None:
    path = made(api, OUTPAINTING, {"prompt": "x", "videoUrl": clip_id}, tmp_path / "default.mp4")
    assert facts(path) == (1280, 720, 81, 16)


@pytest.mark.parametrize(("aspect", "size"), [("1:1", (480, 480)), ("9:16", (480, 854)), ("auto", (854, 480))])
def test_reframe_changes_the_aspect(
    api: httpx.Client,
    real: SandboxServer,
    clip: Path,
    clip_id: str,
    tmp_path: Path,
    aspect: str,
    size: tuple[int, int],
) -> None:
    path = made(api, REFRAME, {"videoUrl": clip_id, "aspectRatio": aspect, **MATCHED}, tmp_path / "reframed.mp4")
    assert facts(path) == (*size, 24, 12)
    wide = min(640, round(360 * size[0] / size[1]))
    middle = Box((640 - wide) // 2, 0, wide, 360)
    for source, reframed in list(zip(frames(clip), frames(path), strict=True))[::8]:
        assert difference(source, middle, reframed, whole(reframed)) < 6


def test_reframe_zooms(api: httpx.Client, real: SandboxServer, clip: Path, clip_id: str, tmp_path: Path) -> None:
    path = made(api, REFRAME, {"videoUrl": clip_id, "zoomFactor": 0.5, **MATCHED}, tmp_path / "near.mp4")
    source, near = frames(clip)[0], frames(path)[0]
    assert difference(source, Box(160, 90, 320, 180), near, whole(near)) < 6
    assert difference(source, whole(source), near, whole(near)) > 6


def test_reframe_with_its_own_frames_and_rate(
    api: httpx.Client, real: SandboxServer, clip_id: str, tmp_path: Path
) -> None:
    inputs = {"videoUrl": clip_id, "numFrames": 90, "framesPerSecond": 24, "resolution": "480p"}
    path = made(api, REFRAME, inputs, tmp_path / "timed.mp4")
    assert facts(path) == (854, 480, 90, 24)
    shown = frames(path)
    # The source has ended after two seconds: its last frame stays.
    assert difference(shown[60], whole(shown[60]), shown[-1], whole(shown[-1])) < 2
    assert difference(shown[0], whole(shown[0]), shown[40], whole(shown[40])) > 5


def test_text_to_video_shows_prompt_and_seed(api: httpx.Client, real: SandboxServer, tmp_path: Path) -> None:
    def video(name: str, **inputs: Any) -> Path:
        return made(api, TEXT_MODEL, {"frameNum": 17, "seed": 5, "prompt": "a fox", **inputs}, tmp_path / name)

    first, same = video("first.mp4"), video("same.mp4")
    assert facts(first) == (832, 480, 17, 16)
    assert first.read_bytes() == same.read_bytes()
    tall = video("tall.mp4", aspectRatio="9:16")
    assert facts(tall)[:2] == (480, 832)

    shown = frames(first)
    assert difference(shown[0], whole(shown[0]), shown[-1], whole(shown[-1])) > 3, "the picture moves"
    other_seed, other_prompt = frames(video("seed.mp4", seed=6))[0], frames(video("prompt.mp4", prompt="an owl"))[0]
    assert difference(shown[0], whole(shown[0]), other_seed, whole(other_seed)) > 8
    prompt_rows, seed_rows = Box(0, 40, 832, 60), Box(0, 450, 832, 28)
    assert max(luma(shown[0], prompt_rows, Size(400, 60))) > 225, "white letters"
    assert difference(shown[0], prompt_rows, other_prompt, prompt_rows) > 2
    assert difference(shown[0], seed_rows, other_prompt, seed_rows) < 2
    assert difference(shown[0], seed_rows, other_seed, seed_rows) > 0.5


@pytest.mark.parametrize(
    ("model", "inputs", "wanted"),
    [
        ("model_wan-2-5-t2v", {"size": "720*1280"}, (720, 1280, 120, 24)),
        ("model_wan-2-2-t2v", {"resolution": "480p"}, (854, 480, 81, 16)),
        ("model_wan-2-7-t2v", {"resolution": "720p", "aspectRatio": "4:3", "duration": 2}, (960, 720, 48, 24)),
    ],
)
def test_other_text_models(
    api: httpx.Client, real: SandboxServer, tmp_path: Path, model: str, inputs: dict[str, Any], wanted: tuple[int, ...]
) -> None:
    assert facts(made(api, model, {"prompt": "x", **inputs}, tmp_path / "video.mp4")) == wanted


def test_image_to_video_starts_with_the_image_and_moves_closer(
    api: httpx.Client, real: SandboxServer, image: Path, image_id: str, tmp_path: Path
) -> None:
    path = made(api, IMAGE_MODEL, {"prompt": "x", "image": image_id, "resolution": "480p"}, tmp_path / "video.mp4")
    assert facts(path) == (854, 480, 81, 16)
    (still,), shown = frames(image), frames(path)
    assert difference(still, whole(still), shown[0], whole(shown[0])) < 6
    near = Box(19, 11, 282, 158)
    assert difference(still, near, shown[-1], whole(shown[-1])) < difference(
        still, whole(still), shown[-1], whole(shown[-1])
    )


def test_image_to_video_ends_with_the_last_image(
    api: httpx.Client, real: SandboxServer, image_id: str, image: Path, tmp_path: Path
) -> None:
    last = draw_image(tmp_path / "last.png", width=320, height=180, seed=8, text="the end")
    order = Order(
        IMAGE_MODEL,
        {"resolution": "480p", "numFrames": 81},
        1,
        tuple(SourceFile(name, path, probe(path)) for name, path in (("image", image), ("lastFrameImage", last))),
    )
    render(order, tmp_path / "video.mp4")
    shown, (end,) = frames(tmp_path / "video.mp4"), frames(last)
    assert len(shown) == 81
    assert difference(end, whole(end), shown[-1], whole(shown[-1])) < 6
    assert difference(end, whole(end), shown[0], whole(shown[0])) > 6


def test_a_model_of_video_and_image_keeps_the_videos_timing(
    api: httpx.Client, real: SandboxServer, clip_id: str, image_id: str, tmp_path: Path
) -> None:
    inputs = {"videoUrl": clip_id, "imageUrl": image_id, "resolution": "480p"}
    assert facts(made(api, "model_wan-2-2-14b-animate-move", inputs, tmp_path / "moved.mp4")) == (854, 480, 24, 12)


def test_tiny_videos_are_quick_and_each_its_own(api: httpx.Client, quick: SandboxServer, tmp_path: Path) -> None:
    inputs = {"prompt": "x", "size": "720*1280", "seed": 1}
    first = made(api, "model_wan-2-5-t2v", inputs, tmp_path / "first.mp4")
    second = made(api, "model_wan-2-5-t2v", {**inputs, "seed": 2}, tmp_path / "second.mp4")
    again = made(api, "model_wan-2-5-t2v", inputs, tmp_path / "again.mp4")
    assert facts(first) == (64, 114, 8, 16)
    assert first.stat().st_size < 5000
    assert first.read_bytes() == again.read_bytes() != second.read_bytes()


def test_properties_are_read_from_the_file(api: httpx.Client, real: SandboxServer, tmp_path: Path) -> None:
    found = ended_job(api, submitted(api))
    asset = original(api, found["metadata"]["assetIds"][0])
    properties = {
        "width": 832,
        "height": 480,
        "nbFrames": 17,
        "frameRate": 16.0,
        "duration": 1.0625,
        "codecName": "h264",
    }
    assert properties.items() <= asset["properties"].items()
    assert asset["metadata"] == {
        "kind": "video",
        "type": "txt2video",
        "prompt": "a fox in the snow",
        "aspectRatio": "16:9",
        "modelId": TEXT_MODEL,
        "seed": str(found["metadata"]["input"]["seed"]),
        "parentJobId": found["jobId"],
    }


def test_an_order_always_gives_the_same_bytes(clip: Path, tmp_path: Path) -> None:
    inputs = {"expandRatio": 0.3, "expandLeft": True, "resolution": "480p", "aspectRatio": "auto", "numFrames": 10}
    order = Order(OUTPAINTING, inputs, 3, (SourceFile("videoUrl", clip, probe(clip)),))
    for maker in (render, render_tiny):
        maker(order, tmp_path / "one.mp4")
        maker(order, tmp_path / "two.mp4")
        assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_drawn_pictures(tmp_path: Path, ending: str) -> None:
    found = probe(draw_image(tmp_path / f"picture{ending}", width=200, height=100))
    assert (found.kind, found.width, found.height) == ("image", 200, 100)


def test_drawn_clips(tmp_path: Path) -> None:
    path = draw_clip(tmp_path / "clip.mp4", seconds=1.5, width=160, height=90, frames_per_second=Fraction(10))
    found = probe(path)
    assert found == MediaFacts("video", "h264", 160, 90, 15, Fraction(10), 1.5, found.bit_rate)


@pytest.fixture(scope="module")
def phone_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("phone") / "phone.mp4"
    return draw_clip(path, seconds=1, width=180, height=320, is_from_a_phone=True)


def test_a_clip_from_a_phone_is_upright_only_by_its_mark(phone_clip: Path, tmp_path: Path) -> None:
    (stored, *_), found = frames(phone_clip), probe(phone_clip)
    assert (stored.width, stored.height, stored.rotation) == (320, 180, -90)
    assert (found.width, found.height, found.frames) == (180, 320, 16)
    upright = frames(draw_clip(tmp_path / "upright.mp4", seconds=1, width=180, height=320))[0]
    shown = first_frame(phone_clip).reformat(format="gray")
    assert difference(shown, whole(shown), upright, whole(upright)) < 6


@pytest.mark.parametrize("model", [REFRAME, OUTPAINTING])
def test_a_clip_from_a_phone_comes_out_upright_and_whole(model: str, phone_clip: Path, tmp_path: Path) -> None:
    inputs = {**MATCHED, "aspectRatio": "auto", **({"expandRatio": 0} if model == OUTPAINTING else {})}
    order = Order(model, inputs, 1, (SourceFile("videoUrl", phone_clip, probe(phone_clip)),))
    render(order, tmp_path / "made.mp4")
    assert facts(tmp_path / "made.mp4") == (480, 854, 16, 16)
    made_frame, source = frames(tmp_path / "made.mp4")[3], first_frame(phone_clip).reformat(format="gray")
    assert made_frame.rotation == 0
    assert difference(source, whole(source), made_frame, whole(made_frame)) < 12


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_each_quarter_turn_is_undone(phone_clip: Path, degrees: int) -> None:
    frame = first_frame(phone_clip)
    there = turned(frame, degrees)(frame)
    back = turned(there, -degrees)(there).reformat(format="gray")
    still = first_frame(phone_clip).reformat(format="gray")
    assert difference(still, whole(still), back, whole(back)) < 2


@pytest.mark.parametrize(
    ("degrees", "matrix"), [(0, (1, 0, 0, 1)), (90, (0, 1, -1, 0)), (180, (-1, 0, 0, -1)), (270, (0, -1, 1, 0))]
)
def test_each_mark_of_a_clip_is_heeded(phone_clip: Path, tmp_path: Path, degrees: int, matrix: tuple[int, ...]) -> None:
    """The mark tells by how much a player turns the picture clockwise."""
    content = bytearray(phone_clip.read_bytes())
    for field, value in zip((0, 1, 3, 4), matrix, strict=True):
        place = content.index(b"tkhd") + 44 + 4 * field
        content[place : place + 4] = (value << 16).to_bytes(4, "big", signed=True)
    (tmp_path / "marked.mp4").write_bytes(content)
    lying, found = frames(phone_clip)[0], probe(tmp_path / "marked.mp4")
    shown = first_frame(tmp_path / "marked.mp4").reformat(format="gray")
    expected = turned(lying, -degrees)(lying).reformat(format="gray")
    assert (found.width, found.height) == (shown.width, shown.height) == (expected.width, expected.height)
    assert difference(shown, whole(shown), expected, whole(expected)) < 2


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_photo_from_a_phone_is_upright_by_its_exif_mark(tmp_path: Path, degrees: int) -> None:
    picture = draw_image(tmp_path / "lying.jpg", width=96, height=54)
    # A big-endian Exif block with one entry, the orientation.
    orientation = {90: 8, 180: 3, 270: 6}[degrees]
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + b"\0\0\0\0\0\0"
    content = picture.read_bytes()
    picture.write_bytes(content[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + content[2:])
    found, frame = probe(picture), first_frame(picture)
    shown = (96, 54) if degrees == 180 else (54, 96)
    assert (found.kind, (found.width, found.height), (frame.width, frame.height)) == ("image", shown, shown)
    lying, there = frames(picture)[0], frame.reformat(format="gray")
    expected = turned(lying, degrees)(lying).reformat(format="gray")
    assert difference(there, whole(there), expected, whole(expected)) < 2


@pytest.mark.parametrize(
    ("inputs", "source", "size"),
    [
        ({"size": "1920*1080"}, None, (1920, 1080)),
        ({"aspectRatio": "16:9"}, None, (832, 480)),
        ({"aspectRatio": "9:16"}, None, (480, 832)),
        ({"resolution": "720p"}, None, (1280, 720)),
        ({"resolution": "580p", "aspectRatio": "16:9"}, None, (1032, 580)),
        ({"resolution": "720p", "aspectRatio": "1:1"}, Size(640, 360), (720, 720)),
        ({"resolution": "480p", "aspectRatio": "auto"}, Size(100, 200), (480, 960)),
        (
            {"resolution": "480p", "aspectRatio": "auto", "expandRatio": 0.5, "expandLeft": True},
            Size(100, 100),
            (720, 480),
        ),
        ({"resolution": "480p", "expandRatio": 1.0, "expandTop": True}, Size(100, 100), (480, 960)),
    ],
)
def test_frame_size(inputs: dict[str, Any], source: Size | None, size: tuple[int, int]) -> None:
    assert frame_size(inputs, source) == Size(*size)


@pytest.mark.parametrize(
    ("zoom", "source", "frame", "part"),
    [
        (0, Size(640, 360), Size(480, 480), Box(140, 0, 360, 360)),
        (0, Size(360, 640), Size(1280, 720), Box(0, 219, 360, 202)),
        (0.5, Size(360, 640), Size(480, 480), Box(90, 230, 180, 180)),
    ],
)
def test_the_part_that_a_reframe_keeps(zoom: float, source: Size, frame: Size, part: Box) -> None:
    assert kept_part({"zoomFactor": zoom}, source, frame) == part


@pytest.mark.parametrize(
    ("codec", "brand", "kind"),
    [
        ("libx265", b"heic", "heic"),
        ("libx265", b"mif1", "heic"),
        ("libx265", b"hevc", "heic"),
        ("libx265", b"msf1", "heic"),
        ("libsvtav1", b"avif", "avif"),
        ("libsvtav1", b"avis", "avif"),
    ],
)
def test_a_picture_of_a_phone_is_no_video(tmp_path: Path, codec: str, brand: bytes, kind: str) -> None:
    content = bytearray(make_video(tmp_path / "one.mp4", codec, "mp4", seconds=1))
    assert probe(tmp_path / "one.mp4").kind == "video"
    content[8:12] = brand
    (tmp_path / "one.heic").write_bytes(content)
    found = probe(tmp_path / "one.heic")
    assert (found.kind, found.codec, found.width, found.height) == ("image", kind, 64, 64)
