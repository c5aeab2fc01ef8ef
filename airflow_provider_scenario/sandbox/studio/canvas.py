"""A small picture in memory, drawn with pure Python and scaled up by PyAV."""

from __future__ import annotations

import av

from airflow_provider_scenario.sandbox.studio.font import CELL_HEIGHT, CELL_WIDTH, GLYPH_WIDTH, glyph_rows, wrap

Colour = tuple[int, int, int]
BYTES_PER_PIXEL = 4


def pixel(colour: Colour) -> bytes:
    """Give a colour as the four bytes of an opaque RGBA pixel."""
    return bytes((*colour, 255))


class Canvas:
    """An RGBA picture of ``width`` x ``height`` pixels, black at first."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._rows = [bytearray(pixel((0, 0, 0)) * width) for _ in range(height)]

    def fill_row(self, row: int, pixels: bytes) -> None:
        """Replace one row by RGBA bytes of the canvas's width."""
        self._rows[row][:] = pixels[: self.width * BYTES_PER_PIXEL]

    def fill_box(self, left: int, top: int, width: int, height: int, colour: Colour) -> None:
        """Fill a box with one colour; what lies outside the canvas is cut off."""
        left, right = max(left, 0), min(left + width, self.width)
        strip = pixel(colour) * max(right - left, 0)
        for row in self._rows[max(top, 0) : max(top + height, 0)]:
            row[left * BYTES_PER_PIXEL : right * BYTES_PER_PIXEL] = strip

    def draw_line(self, left: int, top: int, text: str, colour: Colour, scale: int = 1) -> None:
        """Write one line of text, its top left corner at the given point, each dot ``scale`` pixels wide."""
        for index, character in enumerate(text):
            cell_left = left + index * CELL_WIDTH * scale
            for row, bits in enumerate(glyph_rows(character)):
                for column in range(GLYPH_WIDTH):
                    if bits >> (GLYPH_WIDTH - 1 - column) & 1:
                        self.fill_box(cell_left + column * scale, top + row * scale, scale, scale, colour)

    def draw_text(self, top: int, text: str, colour: Colour, *, margin: int = 6, lines: int = 6, scale: int = 1) -> int:
        """Write a text over as many lines as it needs, at most ``lines``; gives the row below the last one."""
        columns = max((self.width - 2 * margin) // (CELL_WIDTH * scale), 1)
        for line in wrap(text, columns, lines):
            self.draw_line(margin, top, line, colour, scale)
            top += CELL_HEIGHT * scale
        return top

    def colour(self, left: int, top: int) -> Colour:
        """Give the colour of one pixel."""
        start = left * BYTES_PER_PIXEL
        red, green, blue = self._rows[top][start : start + 3]
        return red, green, blue

    def frame(self, width: int, height: int) -> av.VideoFrame:
        """Give the picture as a video frame of the given size, its pixels as squares."""
        frame = av.VideoFrame.from_bytes(b"".join(self._rows), self.width, self.height, format="rgba")
        return frame.reformat(width, height, "yuv420p", interpolation="POINT")
