"""Controllers by name. A new one is a module with `load` (and, if it is trained, `train`) and an entry below.

`design`, if the module has it, says how it decides, for the page that sets the controllers side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

from adamolmo.controllers.roles import ORACLE
from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import KnobConfig

if TYPE_CHECKING:
    from adamolmo.controllers.base import Controller, ControllerContext, Design


@dataclass(frozen=True)
class Registration:
    """Attributes:
    module: has `load(name, context) -> Controller`.
    inputs: files below the results directory that `load` reads.
    trained: whether the inputs are a policy made by the module's `train`.
    parts: controllers whose policies `train` reads.
    """

    module: str
    inputs: tuple[str, ...] = ()
    trained: bool = False
    parts: tuple[str, ...] = ()


# What is known of a dataset's requests before they are seen.
_PRIOR = ("lookup/mean.json", "lookup/expected_latency.json")


def _table(aggregation: str) -> Registration:
    return Registration("adamolmo.controllers.lookup", (f"lookup/{aggregation}.json",))


def _policy(name: str, module: str, parts: tuple[str, ...] = ()) -> Registration:
    files = tuple(f"controllers/{name}/policy.{suffix}" for suffix in ("safetensors", "json"))
    return Registration(f"adamolmo.controllers.{module}", (*files, *_PRIOR), trained=True, parts=parts)


_STATIC = Registration("adamolmo.controllers.static")
# What the hybrid controller switches between.
HYBRID_PARTS = ("two-stage-language", "single-stage-mlp")

CONTROLLERS = {
    "static-full": _STATIC,
    "lookup-mean": _table("mean"),
    "lookup-median": _table("median"),
    "lookup-max_accuracy": _table("max_accuracy"),
    "lookup-mean-sized": Registration("adamolmo.controllers.lookup_sized", _PRIOR),
    "tier-only": _table("mean"),
    "topk-only": _table("mean"),
    "blocks-only": _table("mean"),
    **{name: _policy(name, "two_stage") for name in ("two-stage-budget", "two-stage-language", "two-stage-router")},
    **{
        name: _policy(name, "single_stage")
        for body in ("single-stage-mlp", "single-stage-transformer")
        for name in (body, f"{body}-distilled", f"{body}-mobilevit")
    },
    **{name: _policy(name, "predict") for name in ("predict-question", "predict-overview", "predict-neighbours")},
    "hybrid": _policy("hybrid", "hybrid", HYBRID_PARTS),
}

PREDICTORS = tuple(name for name, entry in CONTROLLERS.items() if entry.module.endswith(".predict"))
POLICIES = tuple(name for name, entry in CONTROLLERS.items() if entry.trained and name not in PREDICTORS)


def find_controller(name: str) -> Registration:
    """How to load `name`, one of CONTROLLERS or `static-<config>`. Raises AdaMolmoError for any other name."""
    if name in CONTROLLERS:
        return CONTROLLERS[name]
    if name == ORACLE:
        raise AdaMolmoError(f"'{ORACLE}' chooses in hindsight, so it cannot answer requests; name a controller.")
    if name.startswith("static-"):
        KnobConfig.parse(name.removeprefix("static-"))
        return _STATIC
    close = get_close_matches(name, CONTROLLERS, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"expected one of {', '.join(CONTROLLERS)}, static-<config>."
    raise AdaMolmoError(f"controller '{name}' is unknown; {hint}")


def find_design(name: str) -> Design | None:
    """How `name` decides, as its module says; None if it says nothing. Raises AdaMolmoError for an unknown name."""
    module = import_module(find_controller(name).module)
    return module.design(name) if hasattr(module, "design") else None


def load_controller(name: str, context: ControllerContext) -> Controller:
    """The controller, ready for requests. Raises AdaMolmoError if `name` is unknown or its files do not fit."""
    return import_module(find_controller(name).module).load(name, context)
