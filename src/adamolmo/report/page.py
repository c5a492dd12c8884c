"""The report as one HTML file: findings, figures with captions, tables, environment, workflow; nothing is loaded."""

import base64
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

import adamolmo
from adamolmo.report import tables
from adamolmo.report.figures.style import in_order
from adamolmo.report.findings import StudyResults, first_paragraph
from adamolmo.report.workflow_graph import draw_rule_graph, read_rule_graph

_PACKAGES = ("torch", "numpy", "pandas", "pyarrow", "scipy", "tokenizers", "safetensors", "matplotlib", "snakemake")


def render(
    template: str,
    results: StudyResults,
    figures: Sequence[Path],
    captions: Mapping[str, str],
    *,
    manifest: Mapping,
    configuration: Mapping,
    rule_graph: str,
) -> str:
    """The page.

    Args:
        template: the Jinja source; figures: PNG files, in the order of the page; captions: figure name -> text.
        manifest: the model's; configuration: the study's, as in its file.
        rule_graph: what `snakemake --rulegraph` prints.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        findings=first_paragraph(results),
        baseline=results.baseline,
        figures=[_figure(path, captions[path.stem]) for path in figures],
        gains=_records(tables.gains(results.comparisons).rows),
        accuracy=_by_dataset(tables.accuracy(results.summary, results.comparisons).rows),
        environment=_environment(results.summary, manifest),
        configuration=yaml.safe_dump(dict(configuration), sort_keys=False, width=100),
        workflow=Markup(draw_rule_graph(read_rule_graph(rule_graph))),  # noqa: S704 (drawn by us, names escaped)
    )


def _figure(path: Path, caption: str) -> dict[str, str]:
    data = base64.b64encode(path.read_bytes()).decode()
    return {"name": path.stem, "title": path.stem.replace("_", " ").capitalize(), "caption": caption, "data": data}


def _records(rows: pd.DataFrame) -> list[dict]:
    return rows.to_dict("records")


def _by_dataset(rows: pd.DataFrame) -> list[dict]:
    """Per dataset its budgets and, per controller, one cell per budget."""
    blocks = []
    for dataset, block in rows.groupby("dataset", observed=True):
        budgets = block.drop_duplicates("budget").sort_values("budget_ms")
        controllers = {
            name: _records(block[block["controller"] == name].sort_values("budget_ms"))
            for name in in_order(block["controller"])
        }
        blocks.append({"dataset": dataset, "budgets": _records(budgets), "controllers": controllers})
    return blocks


def _environment(summary: pd.DataFrame, manifest: Mapping) -> dict[str, str]:
    device = json.loads(summary["device"].iloc[0])
    return {
        "AdaMolmo": adamolmo.__version__,
        "Clock": summary["clock"].iloc[0],
        "Device": ", ".join(f"{key} {value}" for key, value in device.items()),
        "Model": f"{manifest['num_parameters'] / 1e6:.1f} million parameters, {manifest['num_blocks']} blocks, "
        f"{manifest['dtype']}, checksum {manifest['checksum'][:12]}",
        "Report made with": f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        "Packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    }
