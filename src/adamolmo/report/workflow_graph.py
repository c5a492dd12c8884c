"""The workflow's rules as a picture: the graph that `snakemake --rulegraph` prints, drawn as SVG in layers."""

import re
from collections.abc import Mapping
from html import escape

from adamolmo.errors import AdaMolmoError

_NODE = re.compile(r'^\s*(\d+)\s*\[.*?label\s*=\s*"([^"]+)"', re.MULTILINE)
_EDGE = re.compile(r"^\s*(\d+)\s*->\s*(\d+)", re.MULTILINE)
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 118, 22, 22, 20  # px, of a rule's box and between boxes


def read_rule_graph(dot: str) -> dict[str, set[str]]:
    """Rule -> the rules that use its outputs, without the default target. Raises AdaMolmoError if `dot` has no rule."""
    names = dict(_NODE.findall(dot))
    if not names:
        raise AdaMolmoError("the rule graph has no rule; expected what `snakemake --rulegraph` prints.")
    graph = {name: set() for name in names.values()}
    for start, end in _EDGE.findall(dot):
        if names[start] != names[end]:
            graph[names[start]].add(names[end])
    graph.pop("all", None)
    return {name: users - {"all"} for name, users in graph.items()}


def draw_rule_graph(graph: Mapping[str, set[str]]) -> str:
    """An SVG element: data flows downwards; an edge that a longer way implies is left out."""
    rows = _rows(graph)
    width = max(map(len, rows)) * (_WIDTH + _GAP_X) + 2
    place = {}
    for depth, row in enumerate(rows):
        left = (width - len(row) * (_WIDTH + _GAP_X) + _GAP_X) / 2
        for i, name in enumerate(row):
            place[name] = left + i * (_WIDTH + _GAP_X), 1 + depth * (_HEIGHT + _GAP_Y)
    edges = [_edge(place[name], place[user]) for name in sorted(graph) for user in sorted(_direct(graph, name))]
    boxes = [_box(name, *place[name]) for name in sorted(graph)]
    height = len(rows) * (_HEIGHT + _GAP_Y) - _GAP_Y + 2
    return (
        f'<svg class="workflow" viewBox="0 0 {width} {height}" role="img" aria-label="rules of the workflow">'
        f"{''.join(edges)}{''.join(boxes)}</svg>"
    )


def _rows(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The rules of each layer, below the middle of the rules that they use, so that few edges cross."""
    layer_of, rows, at = _layers(graph), [], {}
    for depth in range(max(layer_of.values()) + 1):
        middles = {}
        for name in (name for name in sorted(graph) if layer_of[name] == depth):
            used = [at[other] for other, users in graph.items() if name in users]
            middles[name] = sum(used) / len(used) if used else 0.0
        rows.append(sorted(middles, key=middles.get))
        at |= {name: i - (len(middles) - 1) / 2 for i, name in enumerate(rows[-1])}
    return rows


def _layers(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """The length of the longest way from a rule without inputs."""
    layers = dict.fromkeys(graph, 0)
    for _ in graph:  # no way is longer than there are rules
        for name, users in graph.items():
            for user in users:
                layers[user] = max(layers[user], layers[name] + 1)
    return layers


def _direct(graph: Mapping[str, set[str]], name: str) -> set[str]:
    def beyond(start: str) -> set[str]:
        return graph[start].union(*(beyond(user) for user in graph[start]))

    return graph[name] - set().union(*(beyond(user) for user in graph[name]))


def _edge(start: tuple[float, float], end: tuple[float, float]) -> str:
    x, y, to_x, to_y = start[0] + _WIDTH / 2, start[1] + _HEIGHT, end[0] + _WIDTH / 2, end[1]
    bend = 0.7 * _GAP_Y
    return f'<path d="M{x:g} {y:g}C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y:g}"/>'


def _box(name: str, x: float, y: float) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="4"/>'
        f'<text x="{x + _WIDTH / 2:g}" y="{y + _HEIGHT / 2 + 3.5:g}">{escape(name)}</text>'
    )
