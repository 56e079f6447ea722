"""Keeps screens for people: as text, and as pictures where Pillow is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.first_hours.terminal import Terminal

_FONTS = Path("/usr/share/fonts/truetype/dejavu")
_SIZE = 14
_COLOURS = {
    "default": "#d8d8d8",
    "black": "#555555",
    "red": "#ef6b73",
    "green": "#8fc97a",
    "brown": "#e5c07b",
    "yellow": "#e5c07b",
    "blue": "#6cb2eb",
    "magenta": "#c991e1",
    "cyan": "#63c5cf",
    "white": "#ffffff",
}
_BACKGROUND = "#1d1f21"


class Screens:
    """A folder of screens, numbered in the order they were seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, terminal: Terminal, name: str) -> list[str]:
        """Writes the window as it is now; its lines."""
        self.count += 1
        lines = terminal.lines()
        path = self.folder / f"{self.count:02}-{name}.txt"
        path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
        _draw(terminal, path.with_suffix(".png"))
        return lines


def _draw(terminal: Terminal, path: Path) -> None:
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        return
    regular, bold = _FONTS / "DejaVuSansMono.ttf", _FONTS / "DejaVuSansMono-Bold.ttf"
    if not regular.exists():
        return
    fonts: dict[bool, Any] = {False: ImageFont.truetype(regular, _SIZE)}
    fonts[True] = ImageFont.truetype(bold, _SIZE) if bold.exists() else fonts[False]
    width, height = int(fonts[False].getlength("M")), _SIZE + 4
    image = Image.new("RGB", (terminal.columns * width + 8, terminal.rows * height + 8), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    for y in range(terminal.rows):
        for x in range(terminal.columns):
            cell = terminal.screen.buffer[y][x]
            if cell.data.strip():
                draw.text(
                    (4 + x * width, 4 + y * height), cell.data, font=fonts[bool(cell.bold)], fill=_colour(cell.fg)
                )
    image.save(path)


def _colour(name: str) -> str:
    if len(name) == 6 and all(one in "0123456789abcdef" for one in name.lower()):
        return f"#{name}"
    return _COLOURS.get(name.removeprefix("bright"), _COLOURS["default"])
