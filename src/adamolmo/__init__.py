"""AdaMolmo: latency-adaptive inference of mixture-of-experts vision-language models.

In a notebook, in the directory of a finished study:

    import adamolmo

    study = adamolmo.Study("results", "config.yaml")
    study.table("summary")                                  # one row per dataset, controller and budget
    study.answers("text_vqa", "lookup-mean", "60pct")       # every answer beside its question and references
    study.answer("picture.png", "what number is on the red sign ?", "60pct", "lookup-mean")

A controller of one's own is a subclass of `Controller`, passed where a controller's name is (docs/python.md).

Importing the package is cheap: what stands in `__all__` is loaded at its first use.
"""

from importlib import import_module

__version__ = "0.1.0"
__all__ = ["AdaMolmoError", "Budget", "Controller", "Decision", "KnobConfig", "Limit", "Stage1Inputs", "Study"]

_HOMES = {
    "AdaMolmoError": "errors",
    "Budget": "budgets",
    "Controller": "inference.controller",
    "Decision": "inference.controller",
    "KnobConfig": "knobs",
    "Limit": "inference.controller",
    "Stage1Inputs": "inference.controller",
    "Study": "study.finished",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
