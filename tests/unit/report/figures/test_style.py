"""Colours, markers and the order of controllers."""

from adamolmo.controllers.registry import CONTROLLERS, PREDICTORS
from adamolmo.report.figures.style import LOOKS, VERMILLION, in_order, look

OKABE_ITO = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}


def test_looks_are_colour_blind_safe_and_no_two_are_alike():
    assert {shape.color for shape in LOOKS.values()} <= OKABE_ITO
    assert len({shape.marker for shape in LOOKS.values()}) == len(LOOKS)
    assert len({(shape.color, shape.linestyle) for shape in LOOKS.values()}) == len(LOOKS)
    assert LOOKS.keys() == CONTROLLERS.keys()
    assert {name for name, shape in LOOKS.items() if shape.color == VERMILLION} == set(PREDICTORS)
    assert look("static-low-k4-b12") == look("static-low-k4-b12") != look("static-full")
    assert in_order(["zeta", "tier-only", "alpha", "lookup-mean"]) == ["lookup-mean", "tier-only", "alpha", "zeta"]
