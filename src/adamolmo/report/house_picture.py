"""The picture of the library's packages in docs/: floors from the contract that `make lint` holds them to, what each
package is for from the README's map."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

_WIDTH, _LEFT, _NAME_WIDTH, _ROW, _GAP = 960, 70, 150, 30, 5  # px
_FLOOR, _PHASE, _INK, _GREY = "#F3F5F7", "#DCE9F5", "#1B1B1B", "#5A6570"


def house_picture(root: Path) -> str:
    """SVG.

    Args:
        root: of the repository, with pyproject.toml, README.md and rules/.
    """
    contract = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    floors = [re.split(r"\s*\|\s*", layer) for layer in contract["layers"]]
    phases = {path.stem for path in (root / "rules").glob("*.smk")}
    return _draw(floors, _purposes((root / "README.md").read_text()), phases)


def _purposes(readme: str) -> dict[str, str]:
    """Package or module -> its clause in the README's map; several of one line share it."""
    (listing,) = re.findall(r"^src/adamolmo/\n((?:  .*\n)+)", readme, re.MULTILINE)
    lines = [re.fullmatch(r" +(\S+(?:, \S+)*) {2,}(.*)", line) for line in listing.splitlines()]
    return {name.strip("/"): line[2] for line in lines for name in line[1].split(", ")}


def _draw(floors: Sequence[Sequence[str]], purposes: Mapping[str, str], phases: set[str]) -> str:
    parts, y = [], 34
    for floor in floors:
        height = _ROW * len(floor)
        parts.append(_box(_LEFT, y, _WIDTH - _LEFT - 10, height, _FLOOR))
        for row, name in enumerate(floor):
            top = y + row * _ROW
            if name in phases:
                parts.append(_box(_LEFT, top, _NAME_WIDTH, _ROW, _PHASE))
            parts.append(_text(_LEFT + 12, top + 20, name, _INK, "bold"))
            parts.append(_text(_LEFT + _NAME_WIDTH + 14, top + 20, purposes[name], _INK))
        y += height + _GAP
    arrow = f'<path d="M34 40V{y - 16}l-6 -10m6 10l6 -10" fill="none" stroke="{_GREY}" stroke-width="2"/>'
    side = f'<g transform="translate(20 {y / 2}) rotate(-90)">{_text(0, 0, "may import", _GREY, anchor="middle")}</g>'
    title = _text(_LEFT, 20, "Packages of adamolmo: each imports from floors below it only. Blue: a phase.", _GREY)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 6}" font-family="sans-serif" '
        f'font-size="14"><rect width="100%" height="100%" fill="white"/>{title}{arrow}{side}{"".join(parts)}</svg>\n'
    )


def _box(x: float, y: float, width: float, height: float, color: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5" fill="{color}"/>'


def _text(x: float, y: float, text: str, color: str, weight: str = "normal", anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" fill="{color}" font-weight="{weight}" text-anchor="{anchor}">{escape(text)}</text>'
