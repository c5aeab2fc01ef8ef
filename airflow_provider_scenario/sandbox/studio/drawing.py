"""Moving pictures drawn from nothing: a background whose colours come from a seed, with words on it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from airflow_provider_scenario.sandbox.studio.canvas import BYTES_PER_PIXEL, Canvas, Colour, pixel

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av

    from airflow_provider_scenario.sandbox.studio.geometry import Size

WHITE: Colour = (255, 255, 255)
SHADE: Colour = (20, 20, 28)
CANVAS_SHORT_SIDE = 180


def drawn_frames(size: Size, frames: int, seed: int, text: str, caption: str) -> Iterator[av.VideoFrame]:
    """Frames with ``text`` and ``caption`` legible on a background that drifts and keeps the colours of its seed."""
    scale = max(min(size.width, size.height) // CANVAS_SHORT_SIDE, 1)
    width, height = max(size.width // scale, 16), max(size.height // scale, 16)
    background = _colour_wheel(width, random.Random(seed))
    words = _words(width, height, text, caption)
    for number in range(frames):
        canvas = Canvas(width, height)
        for row in range(height):
            start = (number * 3 + row) % (len(background) // BYTES_PER_PIXEL - width) * BYTES_PER_PIXEL
            canvas.fill_row(row, background[start : start + width * BYTES_PER_PIXEL])
        for left, top, dots, colour in words:
            canvas.fill_box(left, top, dots, 1, colour)
        yield canvas.frame(size.width, size.height)


def drawn_picture(size: Size, seed: int, text: str) -> av.VideoFrame:
    """One such frame."""
    return next(drawn_frames(size, 1, seed, text, f"SEED {seed}"))


def _colour_wheel(width: int, random_source: random.Random) -> bytes:
    """Give a strip of pixels, a good deal wider than the picture, that fades between five colours of the seed."""
    colours = [tuple(random_source.randrange(30, 200) for _ in range(3)) for _ in range(5)]
    length = max(width // 2, 8)
    strip = bytearray()
    for first, second in zip(colours, [*colours[1:], colours[0]], strict=True):
        for step in range(length):
            red, green, blue = (one + (other - one) * step // length for one, other in zip(first, second, strict=True))
            strip += pixel((red, green, blue))
    return bytes(strip) + bytes(strip[: width * BYTES_PER_PIXEL])


def _words(width: int, height: int, text: str, caption: str) -> list[tuple[int, int, int, Colour]]:
    """Give the text as horizontal runs of dots (left, top, length, colour): drawn once, laid over every frame."""
    blank: Colour = (0, 0, 0)
    board = Canvas(width, height)
    board.fill_box(0, height - 14, width, 14, SHADE)
    scale = 2 if len(text) * 12 < width * 3 else 1
    board.draw_text(max(height // 8, 2), text, WHITE, lines=max((height - 30) // (9 * scale), 1), scale=scale)
    board.draw_line(6, height - 11, caption, WHITE)
    runs: list[tuple[int, int, int, Colour]] = []
    for row in range(height):
        start = 0
        while start < width:
            colour = board.colour(start, row)
            end = start
            while end < width and board.colour(end, row) == colour:
                end += 1
            if colour != blank:
                runs.append((start, row, end - start, colour))
            start = end
    return runs
