"""The workflow's rules as a picture: the graph that `snakemake --rulegraph` prints, drawn as SVG in layers."""

import re
from collections.abc import Mapping
from html import escape

from adamolmo.errors import AdaMolmoError

_NODE = re.compile(r'^\s*(\d+)\s*\[.*?label\s*=\s*"([^"]+)"', re.MULTILINE)
_EDGE = re.compile(r"^\s*(\d+)\s*->\s*(\d+)", re.MULTILINE)
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 118, 22, 34, 9  # px, of a rule's box and between boxes


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
    """An SVG element: data flows from left to right; an edge that a longer way implies is left out."""
    layer_of = _layers(graph)
    columns = [[name for name in sorted(graph) if layer_of[name] == i] for i in range(max(layer_of.values()) + 1)]
    tallest = max(map(len, columns))
    height = tallest * (_HEIGHT + _GAP_Y)
    place = {}
    for i, column in enumerate(columns):
        top = (height - len(column) * (_HEIGHT + _GAP_Y)) / 2
        for j, name in enumerate(column):
            place[name] = i * (_WIDTH + _GAP_X) + 1, top + j * (_HEIGHT + _GAP_Y) + 1
    edges = [_edge(place[name], place[user]) for name in sorted(graph) for user in sorted(_direct(graph, name))]
    boxes = [_box(name, *place[name]) for name in sorted(graph)]
    width = len(columns) * (_WIDTH + _GAP_X) - _GAP_X + 2
    return (
        f'<svg class="workflow" viewBox="0 0 {width} {height:g}" role="img" aria-label="rules of the workflow">'
        f"{''.join(edges)}{''.join(boxes)}</svg>"
    )


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
    x, y = start[0] + _WIDTH, start[1] + _HEIGHT / 2
    to_x, to_y = end[0], end[1] + _HEIGHT / 2
    bend = _GAP_X * 0.6
    return f'<path d="M{x:g} {y:g}C{x + bend:g} {y:g} {to_x - bend:g} {to_y:g} {to_x:g} {to_y:g}"/>'


def _box(name: str, x: float, y: float) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="4"/>'
        f'<text x="{x + _WIDTH / 2:g}" y="{y + _HEIGHT / 2 + 3.5:g}">{escape(name)}</text>'
    )
