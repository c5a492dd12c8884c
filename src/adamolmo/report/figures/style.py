"""How every figure looks: paper width, Okabe-Ito colours, one look per controller; equal data give equal files."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from adamolmo.controllers.roles import ORACLE
from adamolmo.files.writing import replacing

PAGE_IN = 7.0  # both columns of a paper
COLUMN_IN = 3.4  # one of them

# Okabe and Ito (2008): told apart by readers with any common colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, LIGHT, EDGE, ALARM = "#7A7A7A", "#D9D9D9", "#333333", "#F3DDD3"
UPPER_BOUND = {"color": BLACK, "linestyle": (0, (4, 2)), "linewidth": 0.9}  # the oracle, which is no controller

styled = matplotlib.style.context(  # decorates a figure function; "default" shuts out the user's matplotlibrc
    [
        "default",
        {
            "font.size": 7,
            "axes.titlesize": 8,
            "axes.labelsize": 7,
            "xtick.labelsize": 6.5,
            "ytick.labelsize": 6.5,
            "legend.fontsize": 7,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.6,
            "xtick.major.width": 0.6,
            "ytick.major.width": 0.6,
            "xtick.major.size": 2.5,
            "ytick.major.size": 2.5,
            "lines.linewidth": 1.0,
            "lines.markersize": 4.0,
            "hatch.linewidth": 0.4,
            "axes.axisbelow": True,
            "grid.color": "#E6E6E6",
            "grid.linewidth": 0.5,
            "pdf.fonttype": 42,
            "savefig.dpi": 200,
            "figure.constrained_layout.use": True,
        },
    ]
)


@dataclass(frozen=True)
class Look:
    """The colour, marker (as matplotlib names it) and line of one controller in every figure."""

    color: str
    marker: str | tuple[int, int, float]
    linestyle: str = "-"

    @property
    def filled(self) -> dict[str, object]:
        """Keywords of a filled marker with a dark edge."""
        return {"marker": self.marker, "mfc": self.color, "mec": EDGE, "mew": 0.4, "markersize": self._size}

    @property
    def hollow(self) -> dict[str, object]:
        """The same marker, only its edge: what missed its budget."""
        return {"marker": self.marker, "mfc": "white", "mec": self.color, "mew": 0.8, "markersize": self._size}

    @property
    def _size(self) -> float:
        return 7.0 if self.marker == "*" else 4.0


LOOKS = {  # in the order of every legend; one colour is the predictors' alone
    "static-full": Look(BLACK, "*", "None"),
    "lookup-mean": Look(BLUE, "o"),
    "lookup-mean-sized": Look(SKY, "s", "-."),
    "lookup-median": Look(SKY, "p"),
    "lookup-max_accuracy": Look(GREEN, "h"),
    "tier-only": Look(ORANGE, (3, 1, 0), "--"),
    "topk-only": Look(YELLOW, (3, 1, 180), "--"),
    "blocks-only": Look(ORANGE, "<", ":"),
    "two-stage-budget": Look(PURPLE, "P"),
    "two-stage-language": Look(PURPLE, "d", "--"),
    "two-stage-router": Look(PURPLE, ">", ":"),
    "single-stage-mlp": Look(GREEN, (8, 1, 0), "--"),
    "single-stage-transformer": Look(GREEN, "8", ":"),
    "single-stage-mlp-distilled": Look(SKY, (5, 0, 180), "--"),
    "single-stage-transformer-distilled": Look(SKY, "H", ":"),
    "single-stage-mlp-mobilevit": Look(BLUE, (4, 1, 0), "--"),
    "single-stage-transformer-mobilevit": Look(BLUE, (6, 1, 0), ":"),
    "predict-question": Look(VERMILLION, "v", "--"),
    "predict-overview": Look(VERMILLION, "D"),
    "predict-neighbours": Look(VERMILLION, "^", ":"),
    "hybrid": Look(PURPLE, "X", "-."),
}
_OTHER_MARKERS = ("p", "H", "<", ">", "d", "8", "h", "D")


def look(controller: str) -> Look:
    """The same for one name in every figure and study; names that LOOKS does not know are grey."""
    marker = _OTHER_MARKERS[zlib.crc32(controller.encode()) % len(_OTHER_MARKERS)]
    return LOOKS.get(controller, Look(GREY, marker, "-."))


def in_order(controllers: Iterable[str]) -> list[str]:
    """Each controller once, in the order of LOOKS, then unknown ones by name, the oracle last."""
    known = list(LOOKS)

    def place(name: str) -> tuple[bool, int, str]:
        return name == ORACLE, known.index(name) if name in known else len(known), name

    return sorted(set(controllers), key=place)


def ink_on(color: object) -> str:
    """Black or white, whichever is legible on `color`."""
    return "white" if np.dot(matplotlib.colors.to_rgb(color), (0.3, 0.59, 0.11)) < 0.45 else "black"


def shades(color: str, count: int) -> list[str]:
    """`count` shades from light to `color`, for the values of an ordered knob."""
    ramp = LinearSegmentedColormap.from_list("shades", ["#FFFFFF", color])
    return [matplotlib.colors.to_hex(ramp(0.2 + 0.8 * (i + 1) / count)) for i in range(count)]


def save(figure: Figure, path: str | Path) -> Figure:
    """Writes `path`.pdf and `path`.png, without dates: equal figures are equal files. Returns the figure."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, for both files
    with replacing(f"{path}.pdf") as temporary:
        figure.savefig(temporary, format="pdf", metadata={"CreationDate": None})
    with replacing(f"{path}.png") as temporary:
        figure.savefig(temporary, format="png")
    return figure
