"""A bitmap font, 5 pixels wide and 7 high, for capital letters, digits and the usual signs."""

from __future__ import annotations

GLYPH_WIDTH = 5
GLYPH_HEIGHT = 7
CELL_WIDTH = GLYPH_WIDTH + 1
CELL_HEIGHT = GLYPH_HEIGHT + 2

# Seven rows of a glyph, top first, each as two hexadecimal digits whose low five bits are the pixels, left to right.
_ROWS = {
    " ": "00 00 00 00 00 00 00",
    "!": "04 04 04 04 04 00 04",
    '"': "0a 0a 0a 00 00 00 00",
    "#": "0a 0a 1f 0a 1f 0a 0a",
    "$": "04 0f 14 0e 05 1e 04",
    "%": "19 19 02 04 08 13 13",
    "&": "0c 12 14 08 15 12 0d",
    "'": "04 04 08 00 00 00 00",
    "(": "02 04 08 08 08 04 02",
    ")": "08 04 02 02 02 04 08",
    "*": "00 15 0e 1f 0e 15 00",
    "+": "00 04 04 1f 04 04 00",
    ",": "00 00 00 00 0c 04 08",
    "-": "00 00 00 0e 00 00 00",
    ".": "00 00 00 00 00 0c 0c",
    "/": "01 01 02 04 08 10 10",
    "0": "0e 11 13 15 19 11 0e",
    "1": "04 0c 14 04 04 04 1f",
    "2": "0e 11 01 06 08 10 1f",
    "3": "1e 01 01 0e 01 01 1e",
    "4": "03 05 09 11 1f 01 01",
    "5": "1f 10 1e 01 01 11 0e",
    "6": "07 08 10 1e 11 11 0e",
    "7": "1f 01 01 02 04 04 04",
    "8": "0e 11 11 0e 11 11 0e",
    "9": "0e 11 11 0f 01 02 1c",
    ":": "00 0c 0c 00 0c 0c 00",
    ";": "00 0c 0c 00 0c 04 08",
    "<": "02 04 08 10 08 04 02",
    "=": "00 00 1f 00 1f 00 00",
    ">": "08 04 02 01 02 04 08",
    "?": "0e 11 01 02 04 00 04",
    "@": "0e 11 17 15 17 10 0f",
    "A": "04 0a 11 11 1f 11 11",
    "B": "1e 11 11 1e 11 11 1e",
    "C": "0e 11 10 10 10 11 0e",
    "D": "1c 12 11 11 11 12 1c",
    "E": "1f 10 10 1c 10 10 1f",
    "F": "1f 10 10 1c 10 10 10",
    "G": "0e 11 10 13 11 11 0f",
    "H": "11 11 11 1f 11 11 11",
    "I": "1f 04 04 04 04 04 1f",
    "J": "01 01 01 01 11 11 0e",
    "K": "11 12 14 18 14 12 11",
    "L": "10 10 10 10 10 10 1f",
    "M": "11 1b 15 15 11 11 11",
    "N": "11 19 19 15 13 13 11",
    "O": "0e 11 11 11 11 11 0e",
    "P": "1e 11 11 1e 10 10 10",
    "Q": "0e 11 11 11 15 12 0d",
    "R": "1e 11 11 1e 14 12 11",
    "S": "0f 10 10 0e 01 01 1e",
    "T": "1f 04 04 04 04 04 04",
    "U": "11 11 11 11 11 11 0e",
    "V": "11 11 11 11 0a 0a 04",
    "W": "11 11 11 15 15 1b 11",
    "X": "11 0a 0a 04 0a 0a 11",
    "Y": "11 11 0a 04 04 04 04",
    "Z": "1f 01 02 04 08 10 1f",
    "[": "0e 08 08 08 08 08 0e",
    "\\": "10 10 08 04 02 01 01",
    "]": "0e 02 02 02 02 02 0e",
    "^": "04 0a 11 00 00 00 00",
    "_": "00 00 00 00 00 00 1f",
    "`": "08 04 02 00 00 00 00",
    "{": "03 04 04 18 04 04 03",
    "|": "04 04 04 04 04 04 04",
    "}": "18 04 04 03 04 04 18",
    "~": "00 08 15 02 00 00 00",
}
_UNKNOWN = "1f 11 11 11 11 11 1f"


def glyph_rows(character: str) -> tuple[int, ...]:
    """Give the seven rows of a character's glyph, as five-bit numbers; small letters are drawn as capitals."""
    rows = _ROWS.get(character.upper(), _UNKNOWN)
    return tuple(bytes.fromhex(rows))


def wrap(text: str, columns: int, lines: int) -> list[str]:
    """Break a text into at most ``lines`` lines of at most ``columns`` characters; what is left over is cut."""
    wrapped = [""]
    for word in text.split():
        pieces = [word[start : start + columns] for start in range(0, len(word), columns)]
        for piece in pieces:
            longer = f"{wrapped[-1]} {piece}".strip()
            if len(longer) <= columns:
                wrapped[-1] = longer
            else:
                wrapped.append(piece)
    return wrapped[:lines]
