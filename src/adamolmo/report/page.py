"""The report as one HTML file: findings, figures with captions, tables, environment, workflow; nothing is loaded."""

import base64
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import yaml
from markupsafe import Markup

import adamolmo
from adamolmo.budgets import KINDS
from adamolmo.files.model import Manifest
from adamolmo.report import tables
from adamolmo.report.findings import StudyResults, first_paragraph, gains_by_kind
from adamolmo.report.templates import render
from adamolmo.report.workflow_graph import draw_rule_graph, read_rule_graph
from adamolmo.statistics.intervals import SIGNIFICANCE

_PACKAGES = ("torch", "numpy", "pandas", "pyarrow", "scipy", "tokenizers", "safetensors", "matplotlib", "snakemake")


def page(
    template: Path,
    results: StudyResults,
    figures: Sequence[Path],
    captions: Mapping[str, str],
    *,
    manifest: Manifest,
    configuration: Mapping,
    rule_graph: str,
) -> str:
    """The page.

    Args:
        figures: PNG files, in the order of the page; captions: figure name -> text.
        manifest: the model's; configuration: the study's, as in its file.
        rule_graph: what `snakemake --rulegraph` prints.
    """
    return render(
        template,
        findings=first_paragraph(results),
        baseline=results.baseline,
        figures=[_figure(path, captions[path.stem]) for path in figures],
        kinds=KINDS,
        by_kind=gains_by_kind(results).to_dict("records"),
        gains=tables.gains(results.comparisons).rows.to_dict("records"),
        accuracy=tables.by_dataset(tables.accuracy(results.summary, results.comparisons).rows),
        significance=SIGNIFICANCE,
        environment=_environment(results.summary, manifest),
        configuration=yaml.safe_dump(dict(configuration), sort_keys=False, width=100),
        workflow=Markup(draw_rule_graph(read_rule_graph(rule_graph))),  # noqa: S704 (drawn by us, names escaped)
    )


def _figure(path: Path, caption: str) -> dict[str, str]:
    data = base64.b64encode(path.read_bytes()).decode()
    return {"name": path.stem, "title": path.stem.replace("_", " ").capitalize(), "caption": caption, "data": data}


def _environment(summary: pd.DataFrame, manifest: Manifest) -> dict[str, str]:
    device = json.loads(summary["device"].iloc[0])
    return {
        "AdaMolmo": adamolmo.__version__,
        "Clock": summary["clock"].iloc[0],
        "Device": ", ".join(f"{key} {value}" for key, value in device.items()),
        "Model": f"{manifest.num_parameters / 1e6:.1f} million parameters, {manifest.num_blocks} blocks, "
        f"{manifest.dtype}, checksum {manifest.checksum[:12]}",
        "Report made with": f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        "Packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    }
