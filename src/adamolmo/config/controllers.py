"""Controllers that are not part of the library: the section `own_controllers`."""

from typing import Literal

from pydantic import Field

from adamolmo.config.values import Section, Text


class OwnControllerSettings(Section):
    """A controller of one's own, which `controllers` can then name (docs/add-a-controller.md)."""

    module: Text = Field(description="a Python file, seen from where Snakemake runs, or a module's dotted name")
    tables: list[Literal["mean", "median", "max_accuracy", "expected_latency"]] = Field(
        [], description="lookup tables that it reads, by their aggregation, or what latencies to expect"
    )
    trained: bool = Field(False, description="whether the module has `train`, whose policy it reads")
