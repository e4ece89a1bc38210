"""Draw the terminal pictures of the documentation: ``python -m docs.pictures``, from a checkout.

It runs the real ``supervisor`` on a pseudo terminal, in a temporary root, until the screen shows
what the picture is for, and writes that screen as SVG: ``terminal-light.svg`` and
``terminal-dark.svg`` next to this file. The text of the picture is text, so it can be searched,
copied and read aloud.
"""

import tempfile
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path

from tests.screen import Screen, seat

HERE = Path(__file__).parent
COLUMNS, ROWS = 88, 24
CELL_WIDTH, LINE_HEIGHT, FONT_SIZE, MARGIN = 8.4, 19, 14, 16  # pixels
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
COLOURS = {"31": "red", "32": "green", "33": "yellow", "34": "blue", "35": "magenta", "36": "cyan"}
THEMES = {
    "light": {
        "back": "#ffffff", "frame": "#d0d7de", "text": "#1f2328", "dim": "#656d76",
        "red": "#cf222e", "green": "#1a7f37", "yellow": "#9a6700", "blue": "#0969da",
        "magenta": "#8250df", "cyan": "#1b7c83",
    },
    "dark": {
        "back": "#0d1117", "frame": "#30363d", "text": "#e6edf3", "dim": "#8d96a0",
        "red": "#ff7b72", "green": "#3fb950", "yellow": "#d29922", "blue": "#58a6ff",
        "magenta": "#bc8cff", "cyan": "#39c5cf",
    },
}  # fmt: skip

CONFIG = """
[pipelines.build]
stages = [
    { id = "compile", command = "until test -e go; do sleep 0.05; done" },
    { id = "package", command = "true" },
]
[pipelines.test]
stages = [
    { id = "unit", command = "sleep 0.4" },
    { id = "integration", command = "until test -e go; do sleep 0.05; done" },
]
[pipelines.lint]
stages = [{ id = "style", command = "sleep 0.2; echo 'app.py:3: unused import' >&2; exit 1" }]
[pipelines.types]
stages = [{ id = "mypy", command = "sleep 0.3" }]
[pipelines.docs]
stages = [{ id = "html", command = "sleep 0.6" }]
"""
BATCH = "\n".join(
    f'[[runs]]\ntask = "nightly"\npipeline = "{pipeline}"\ncount = {count}'
    for pipeline, count in (("build", 2), ("test", 2), ("lint", 1), ("types", 1), ("docs", 1))
)
ARGUMENTS = ("start", "--once", "--batch", "nightly.toml")


class Cell(str):
    """One character of the screen with its style: ``bold``, ``dim`` and the name of a colour."""

    style: frozenset[str] = frozenset()


class StyledScreen(Screen):
    """A screen that remembers the style of every character."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__(columns, rows)
        self.style: frozenset[str] = frozenset()

    def _put(self, char: str) -> None:
        cell = Cell(char)
        cell.style = self.style
        super()._put(cell)

    def _escape(self, arguments: str, letter: str) -> None:
        super()._escape(arguments, letter)
        for code in arguments.split(";") if letter == "m" else ():
            if code in ("", "0"):
                self.style = frozenset()
            elif code in ("1", "2"):
                self.style |= {"bold" if code == "1" else "dim"}
            elif code in COLOURS:
                self.style = self.style - set(COLOURS.values()) | {COLOURS[code]}


def record() -> StyledScreen:
    """Run a batch on a terminal; return the screen with three finished runs and four running."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "config").mkdir()
        (root / "config/supervisor.toml").write_text(CONFIG)
        (root / "nightly.toml").write_text(BATCH)
        with seat(root, *ARGUMENTS, columns=COLUMNS, rows=ROWS) as terminal:
            screen = terminal.screen = StyledScreen(COLUMNS, ROWS)
            screen.feed(f"\x1b[2m$\x1b[0m \x1b[1msupervisor {' '.join(ARGUMENTS)}\x1b[0m\r\n")
            terminal.until(
                lambda lines: (
                    any("3/7 done" in line for line in lines)
                    and sum("2/2 integration" in line for line in lines) == 2
                ),
                "three runs are done and two are at their second stage",
            )
            lines = [list(line) for line in screen.lines]
            (root / "go").touch()
            terminal.end()
    screen.lines = lines
    return screen


def spans(line: list[str]) -> Iterator[tuple[int, str, frozenset[str]]]:
    """The parts of a line with one style each, without outer blanks: column, text, style."""
    column = 0
    for style, cells in groupby(line, key=lambda cell: getattr(cell, "style", frozenset())):
        text = "".join(cells)
        indent = len(text) - len(text.lstrip())
        yield column + indent, text.strip(), style
        column += len(text)


def svg(screen: StyledScreen, theme: str) -> str:
    """The screen as an SVG image in the colours of a theme."""
    colours = THEMES[theme]
    rows = [line for line in screen.lines if "".join(line).strip()]
    width = round(COLUMNS * CELL_WIDTH + 2 * MARGIN)
    height = len(rows) * LINE_HEIGHT + 2 * MARGIN
    body = []
    for number, line in enumerate(rows):
        parts = []
        for column, text, style in spans(line):
            if text:
                fill = next((colours[name] for name in style if name in colours), None)
                weight = ' font-weight="bold"' if "bold" in style else ""
                paint = f' fill="{fill}"' if fill else ""
                x = MARGIN + column * CELL_WIDTH
                length = len(text) * CELL_WIDTH
                parts.append(
                    f'<tspan x="{x:.1f}" textLength="{length:.1f}"{paint}{weight}>'
                    f"{escape(text, quote=False)}</tspan>"
                )
        y = MARGIN + (number + 1) * LINE_HEIGHT - 5
        body.append(f'<text y="{y}" xml:space="preserve">{"".join(parts)}</text>')
    label = "The live view of 'supervisor start': finished runs, then runs in progress"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img" aria-label="{label}" '
            f'font-family="{FONT}" font-size="{FONT_SIZE}" fill="{colours["text"]}">',
            f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8" '
            f'fill="{colours["back"]}" stroke="{colours["frame"]}"/>',
            *body,
            "</svg>\n",
        ]
    )


def main() -> None:
    """Record one session and write it in every theme."""
    screen = record()
    print("\n".join(screen.text()))
    for theme in THEMES:
        (HERE / f"terminal-{theme}.svg").write_text(svg(screen, theme))


if __name__ == "__main__":
    main()
