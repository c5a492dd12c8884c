"""The report as one HTML file: the answer, charts to explore, findings, figures with captions, tables, environment,
workflow. Nothing is loaded: scripts and data are part of the page, whose content security policy admits no others."""

import base64
import hashlib
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
from adamolmo.report import answer, explore, tables
from adamolmo.report.findings import StudyResults, findings, warnings
from adamolmo.report.templates import render
from adamolmo.report.workflow_graph import draw_rule_graph, read_rule_graph
from adamolmo.statistics.intervals import SIGNIFICANCE

_PACKAGES = ("torch", "numpy", "pandas", "pyarrow", "scipy", "tokenizers", "safetensors", "matplotlib", "snakemake")


def page(
    template: Path,
    results: StudyResults,
    grid: pd.DataFrame,
    figures: Sequence[Path],
    captions: Mapping[str, str],
    *,
    script: Path,
    data: Mapping[str, Sequence[str]],
    manifest: Manifest,
    configuration: Mapping,
    rule_graph: str,
) -> str:
    """The page.

    Args:
        grid: every configuration on the evaluation split, rows of core_exp.
        figures: PNG files, in the order of the page; captions: figure name -> text.
        script: what works the page's controls.
        data: figure name -> the files that it is drawn from, relative to the page.
        manifest: the model's; configuration: the study's, as in its file.
        rule_graph: what `snakemake --rulegraph` prints.
    """
    scripts = [explore.program(), script.read_text()]
    charts = explore.charts(results.summary, results.equal_latency, results.profile, grid, results.judged)
    return render(
        template,
        answer=answer.sentences(results),
        winners=answer.winners(results),
        findings=findings(results),
        warnings=warnings(results),
        scripts=[Markup(text) for text in scripts],  # noqa: S704 (a library's and our own)
        hashes=[_hash(text) for text in scripts],
        charts=charts,
        choices=explore.choices(results.summary),
        baseline=results.baseline,
        figures=[_figure(path, captions[path.stem], data.get(path.stem, ())) for path in figures],
        kinds=KINDS,
        by_kind=results.gains_by_kind.to_dict("records"),
        gains=tables.gains(results.comparisons).rows.to_dict("records"),
        accuracy=tables.by_dataset(tables.accuracy(results.summary, results.comparisons).rows),
        serving=tables.serving(results.summary).to_dict("records"),
        serving_titles=tables.SERVING,
        clock=results.summary["clock"].iloc[0],
        significance=SIGNIFICANCE,
        environment=_environment(results.summary, manifest),
        configuration=yaml.safe_dump(dict(configuration), sort_keys=False, width=100),
        workflow=Markup(draw_rule_graph(read_rule_graph(rule_graph))),  # noqa: S704 (drawn by us, names escaped)
    )


def _hash(script: str) -> str:
    """As a content security policy names a script that may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _figure(path: Path, caption: str, data: Sequence[str]) -> dict[str, object]:
    return {
        "name": path.stem,
        "title": path.stem.replace("_", " ").capitalize(),
        "caption": caption,
        "image": base64.b64encode(path.read_bytes()).decode(),
        "data": data,
    }


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
