"""How every figure looks: two widths of a paper, Okabe-Ito colours, one look per controller, the same files from the
same data."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline

from adamolmo.controllers.roles import ORACLE
from adamolmo.files.writing import replacing

PAGE_IN = 7.0  # both columns of a paper
COLUMN_IN = 3.3  # one of them
TEXT_PT = 6.0  # of the smallest text, at either width

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
            "axes.titlesize": 7.5,
            "axes.labelsize": 6.5,
            "xtick.labelsize": 6.5,
            "ytick.labelsize": 6.5,
            "legend.fontsize": 6.5,
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
    """The colour, marker and line (as matplotlib names them) of one controller in every figure."""

    color: str
    marker: str
    linestyle: str | tuple[int, tuple[float, ...]] = "-"

    @property
    def line(self) -> dict[str, object]:
        """Keywords of a line without markers."""
        return {"color": self.color, "linestyle": self.linestyle}

    @property
    def filled(self) -> dict[str, object]:
        """Keywords of a filled marker with a dark edge."""
        return {"marker": self.marker, "mfc": self.color, "mec": EDGE, "mew": 0.4, "markersize": self._size}

    @property
    def hollow(self) -> dict[str, object]:
        """The same marker, only its edge: what missed its budget."""
        return {"marker": self.marker, "mfc": "white", "mec": self.color, "mew": 0.8, "markersize": self._size}

    @property
    def outline(self) -> str:
        """The marker as a path of SVG around the origin; that of most is 2 high, as Vega-Lite expects it."""
        shape = MarkerStyle(self.marker)
        path = shape.get_path().transformed(shape.get_transform().scale(self._size / 2, -self._size / 2))
        return "".join(
            _SVG[code] + ",".join(f"{value:.3f}" for value in ([] if code == Outline.CLOSEPOLY else points))
            for points, code in path.iter_segments(simplify=False)
        )

    @property
    def dashes(self) -> list[float]:
        """The line in units of its width: drawn, left out, drawn, ...; nothing of a whole line."""
        if self.linestyle == "None":
            return [0.0, 1.0]
        if not isinstance(self.linestyle, str):
            return list(self.linestyle[1])
        named = {"--": "lines.dashed_pattern", ":": "lines.dotted_pattern", "-.": "lines.dashdot_pattern"}
        return matplotlib.rcParamsDefault[named[self.linestyle]] if self.linestyle in named else []

    @property
    def _size(self) -> float:
        return 7.0 if self.marker == "*" else 4.0


_SVG = {Outline.MOVETO: "M", Outline.LINETO: "L", Outline.CURVE3: "Q", Outline.CURVE4: "C", Outline.CLOSEPOLY: "Z"}
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
# In the order of every legend. A family has one colour, and each of it another line; no two have marker and line in
# common, so that they are told apart in grey print as well.
LOOKS = {
    "static-full": Look(BLACK, "*", "None"),
    "lookup-mean": Look(BLUE, "o", DASHES[0]),
    "lookup-mean-sized": Look(BLUE, "s", DASHES[1]),
    "lookup-median": Look(BLUE, "p", DASHES[2]),
    "lookup-max_accuracy": Look(BLUE, "X", DASHES[3]),
    "tier-only": Look(ORANGE, "<", DASHES[1]),
    "topk-only": Look(ORANGE, ">", DASHES[2]),
    "blocks-only": Look(ORANGE, "d", DASHES[3]),
    "two-stage-budget": Look(PURPLE, "^", DASHES[0]),
    "two-stage-language": Look(PURPLE, "v", DASHES[1]),
    "two-stage-router": Look(PURPLE, ">", DASHES[3]),
    "single-stage-mlp": Look(GREEN, "D", DASHES[1]),
    "single-stage-transformer": Look(GREEN, "s", DASHES[2]),
    "single-stage-mlp-distilled": Look(GREEN, "d", DASHES[0]),
    "single-stage-transformer-distilled": Look(GREEN, "h", DASHES[3]),
    "single-stage-mlp-mobilevit": Look(GREEN, "o", DASHES[4]),
    "single-stage-transformer-mobilevit": Look(GREEN, "p", DASHES[5]),
    "predict-question": Look(VERMILLION, "X", DASHES[1]),
    "predict-overview": Look(VERMILLION, "P", DASHES[0]),
    "predict-neighbours": Look(VERMILLION, "<", DASHES[2]),
    "hybrid": Look(SKY, "h", DASHES[0]),
}
# Of controllers that LOOKS does not know, one's own and single static configurations.
_OTHER_COLORS = (GREY, SKY, BLACK)
_OTHER_MARKERS = ("o", "s", "D", "^", "v", "<", ">", "p", "h", "d", "P", "X")
_OTHER_DASHES = ((1, 1), (4, 1, 1, 1), (3, 3), (6, 1))
_LONG_DASH = (10, 2)  # after them, as often as needed
_told_apart: dict[str, Look] = {}

_FAMILIES = {
    "tables": ("static-", "lookup-", "tier-only", "topk-only", "blocks-only"),
    "two-stage": ("two-stage-", "hybrid"),
    "single-stage": ("single-stage-",),
    "predictors": ("predict-",),
}

# What a name does not say, or says wrongly; a legend, a table or a page that shows the name says it.
EXPLAINED = {
    "lookup-max_accuracy": "trusts each configuration's luckiest question, hence the cheapest",
    ORACLE: "best in hindsight, the upper bound",
}


def look(controller: str) -> Look:
    """The same for one name in every figure of a study; in every study, but for those that `tell_apart` changed."""
    return LOOKS.get(controller) or _told_apart.get(controller) or next(_others(controller))


def tell_apart(controllers: Iterable[str]) -> None:
    """From now on no two of these controllers of one study look alike, however many there are: marker and line differ
    from those of all others, and colour and marker as long as they can. Whose look is taken, in the order of names,
    gets the next one that is free."""
    _told_apart.clear()
    taken = list(LOOKS.values())
    for name in sorted(set(controllers) - LOOKS.keys()):
        _told_apart[name] = _free(name, taken)
        taken.append(_told_apart[name])


def _free(name: str, taken: Sequence[Look]) -> Look:
    in_grey, in_colour = (
        {(key(one), one.marker) for one in taken} for key in (lambda x: x.linestyle, lambda x: x.color)
    )
    free = (one for one in _others(name) if (one.linestyle, one.marker) not in in_grey)
    some = list(islice(free, len(_OTHER_MARKERS) * len(_OTHER_COLORS)))
    return next((one for one in some if (one.color, one.marker) not in in_colour), some[0])


def _others(name: str) -> Iterator[Look]:
    """Looks for a controller that LOOKS does not know, without end, the name's own first."""
    start, without_long_dash = zlib.crc32(name.encode()), len(_OTHER_MARKERS) * len(_OTHER_DASHES) * len(_OTHER_COLORS)
    for step in count():
        place, parts = start + step, []
        for choices in (_OTHER_MARKERS, _OTHER_DASHES, _OTHER_COLORS):
            place, chosen = divmod(place, len(choices))
            parts.append(choices[chosen])
        marker, dashes, color = parts
        yield Look(color, marker, (0, (*dashes, *(step // without_long_dash * _LONG_DASH))))


def family(controller: str) -> str:
    """What is drawn together where one panel for all would be crowded."""
    return next((name for name, starts in _FAMILIES.items() if controller.startswith(starts)), "one's own")


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


@styled
def save(figure: Figure, path: str | Path, suffixes: Sequence[str] = ("pdf", "png")) -> None:
    """Writes `path`.pdf and `path`.png, without dates: equal figures are equal files."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, for all files
    for suffix in suffixes:
        with replacing(f"{path}.{suffix}") as temporary:
            figure.savefig(temporary, format=suffix, metadata={"CreationDate": None} if suffix == "pdf" else None)
