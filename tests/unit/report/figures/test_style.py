"""Colours, markers, lines and the order of controllers."""

from itertools import combinations

from adamolmo.controllers.registry import CONTROLLERS, PREDICTORS
from adamolmo.report.figures.style import LOOKS, VERMILLION, family, in_order, look, tell_apart

OKABE_ITO = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}
OWN = ("careful", "my-own-controller", "static-low-k4-b12", "static-medium-k6-b14", "bandit", "always-cheap")


def test_every_controller_has_a_look_that_is_colour_blind_safe():
    assert LOOKS.keys() == CONTROLLERS.keys()
    assert {shape.color for shape in LOOKS.values()} <= OKABE_ITO
    assert {name for name, shape in LOOKS.items() if shape.color == VERMILLION} == set(PREDICTORS)


def test_no_two_looks_are_alike_in_colour_nor_in_grey():
    looks = [look(name) for name in (*LOOKS, *OWN)]
    for one, other in combinations(looks, 2):
        assert (one.marker, str(one.linestyle)) != (other.marker, str(other.linestyle))  # in grey print
        assert (one.color, one.marker) != (other.color, other.marker)
    for one, other in combinations(LOOKS.values(), 2):
        assert (one.color, str(one.linestyle)) != (other.color, str(other.linestyle))


def test_any_number_of_ones_own_controllers_are_told_apart_in_grey():
    names = [f"mine-{number}" for number in range(200)]
    assert len({(look(name).marker, look(name).linestyle) for name in names}) < 200  # by their names alone
    try:
        tell_apart([*names, *OWN, "lookup-mean"])
        looks = [look(name) for name in (*LOOKS, *names, *OWN)]
        few = [look(name) for name in sorted((*names, *OWN))[:20]]
    finally:
        tell_apart([])
    assert len({(shape.marker, str(shape.linestyle)) for shape in looks}) == len(looks)
    assert len({(shape.marker, shape.color) for shape in few}) == len(few)
    assert look("lookup-mean") == LOOKS["lookup-mean"]


def test_a_look_in_a_browser_has_the_marker_and_the_line_of_the_figures():
    assert look("lookup-mean-sized").outline == "M-1.000,1.000L1.000,1.000L1.000,-1.000L-1.000,-1.000Z"  # a square
    assert look("two-stage-budget").outline.startswith("M0.000,-1.000L-1.000,1.000L1.000,1.000")  # its tip above
    assert (look("lookup-mean").dashes, look("static-full").dashes) == ([], [0.0, 1.0])
    assert look("tier-only").dashes[0] > 2 * look("tier-only").dashes[1] > 0
    assert look("hybrid").outline != look("predict-overview").outline


def test_a_look_depends_on_the_name_alone():
    assert look("static-low-k4-b12") == look("static-low-k4-b12") != look("static-full")


def test_controllers_have_one_order_and_families():
    assert in_order(["zeta", "oracle", "tier-only", "alpha", "lookup-mean"])[-1] == "oracle"
    assert in_order(["zeta", "tier-only", "alpha", "lookup-mean"]) == ["lookup-mean", "tier-only", "alpha", "zeta"]
    assert [family(name) for name in ("blocks-only", "hybrid", "predict-question", "careful")] == [
        "tables",
        "two-stage",
        "predictors",
        "one's own",
    ]
