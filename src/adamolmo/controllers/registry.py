"""Controllers by name: which module each comes from and what it reads.

Only who plans, or takes names from a person, needs this. Jobs get their controller's module as an argument, so that a
new entry makes no old cell again. A module has `load(name, context)` and, if it is trained, `train`. `design(name)`, if
it is there, says how the controller decides, for the page that sets the controllers side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from adamolmo.controllers.roles import HYBRID_PARTS, ORACLE
from adamolmo.controllers.table import EXPECTED_LATENCY
from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import KnobConfig
from adamolmo.names import STATIC_PREFIX

if TYPE_CHECKING:
    from adamolmo.config.controllers import OwnControllerSettings


@dataclass(frozen=True)
class Registration:
    """Attributes:
    module: dotted name, or a Python file.
    tables: aggregations whose lookup tables `load` reads, or EXPECTED_LATENCY.
    trained: whether `load` reads a policy that the module's `train` makes.
    parts: controllers whose policies `train` reads.
    """

    module: str
    tables: tuple[str, ...] = ()
    trained: bool = False
    parts: tuple[str, ...] = ()


# What is known of a dataset's requests before they are seen.
_PRIOR = ("mean", EXPECTED_LATENCY)


def _table(aggregation: str) -> Registration:
    return Registration("adamolmo.controllers.lookup", tables=(aggregation,))


def _policy(module: str, parts: tuple[str, ...] = ()) -> Registration:
    return Registration(f"adamolmo.controllers.{module}", _PRIOR, trained=True, parts=parts)


_STATIC = Registration("adamolmo.controllers.static")

CONTROLLERS = {
    "static-full": _STATIC,
    "lookup-mean": _table("mean"),
    "lookup-median": _table("median"),
    "lookup-max_accuracy": _table("max_accuracy"),
    "lookup-mean-sized": Registration("adamolmo.controllers.lookup_sized", _PRIOR),
    "tier-only": _table("mean"),
    "topk-only": _table("mean"),
    "blocks-only": _table("mean"),
    **dict.fromkeys(("two-stage-budget", "two-stage-language", "two-stage-router"), _policy("two_stage")),
    **{
        body + source: _policy("single_stage")
        for body in ("single-stage-mlp", "single-stage-transformer")
        for source in ("", "-distilled", "-mobilevit")
    },
    **dict.fromkeys(("predict-question", "predict-overview", "predict-neighbours"), _policy("predict")),
    "hybrid": _policy("hybrid", HYBRID_PARTS),
}

PREDICTORS = tuple(name for name, entry in CONTROLLERS.items() if entry.module.endswith(".predict"))


def find_controller(name: str, own: Mapping[str, OwnControllerSettings]) -> Registration:
    """How to load `name`: one of `own` (the study's `own_controllers`), of CONTROLLERS, or `static-<config>`.

    Raises AdaMolmoError for any other name.
    """
    if name in own and name in CONTROLLERS:
        raise AdaMolmoError(f"own_controllers.{name}: the library has a controller of that name; expected another.")
    if name in own:
        return Registration(own[name].module, tuple(own[name].tables), own[name].trained)
    if name in CONTROLLERS:
        return CONTROLLERS[name]
    if name == ORACLE:
        raise AdaMolmoError(f"'{ORACLE}' chooses in hindsight, so it cannot answer requests; name a controller.")
    if name.startswith(STATIC_PREFIX):
        KnobConfig.parse(name.removeprefix(STATIC_PREFIX))
        return _STATIC
    known = [*own, *CONTROLLERS]
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"expected one of {', '.join(known)}, static-<config>."
    raise AdaMolmoError(f"controller '{name}' is unknown; {hint}")
