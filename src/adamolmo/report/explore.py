"""The report's charts that a reader explores: accuracy over latency, and gains. Drawn in the reader's browser from data
within the page, by Vega-Lite (Satyanarayan et al., 2017); a few lines of JavaScript in the template set the signals
`dataset`, `kind` and `shown` from the page's own controls.
"""

import json
from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd
import vl_convert

from adamolmo.budgets import KINDS, Budget, kind_of
from adamolmo.controllers.roles import ORACLE
from adamolmo.evaluation.equal_latency import Static
from adamolmo.evaluation.grid import GridOutcomes
from adamolmo.evaluation.summary import static_configs
from adamolmo.files.columns import KNOBS
from adamolmo.knobs import KnobConfig
from adamolmo.report.figures import style
from adamolmo.report.figures.style import Look, in_order, look
from adamolmo.report.results import CELL, everywhere, kinds_of

EVERY_KIND = "every"
_CHOSEN = "datum.dataset == dataset"
_SHOWN = f"{_CHOSEN} && (kind == '{EVERY_KIND}' || datum.kind == kind) && indexof(shown, datum.controller) >= 0"
# Of the gains: of every kind its mean over the budgets, or of one kind also each budget.
_GAINS_SHOWN = (
    f"{_CHOSEN} && indexof(shown, datum.controller) >= 0 "
    f"&& (kind == '{EVERY_KIND}' ? datum.pooled : datum.kind == kind)"
)
_ROW_PX = 18
_LINE_PX = 1.2


def program() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which defines `vegaEmbed`."""
    return vl_convert.javascript_bundle(vl_version="6.4")


def charts(
    summary: pd.DataFrame,
    equal_latency: pd.DataFrame,
    profile: pd.DataFrame,
    grid: pd.DataFrame,
    gains: pd.DataFrame,
) -> dict[str, dict]:
    """Specifications of Vega-Lite by the id of the element that they are drawn in.

    Args:
        summary, equal_latency: the tables of those names; profile, grid: rows of core_exp, of the profile and of the
            evaluation split; gains: of `verdict.judge`.
    """
    controllers = in_order(summary["controller"])
    params = {"dataset": everywhere(summary), "kind": EVERY_KIND, "shown": controllers}
    statics, frontiers = _statics(profile, grid, everywhere(summary))
    drawn = {"explore-pareto": _pareto(_cells(summary, equal_latency), statics, frontiers, controllers)}
    if len(gains):
        drawn["explore-gains"] = _gains(_gain_rows(gains), controllers)
    return {name: _specified(chart, params) for name, chart in drawn.items()}


def choices(summary: pd.DataFrame) -> dict[str, object]:
    """What the page's controls offer: datasets, kinds (name -> title) and controllers (name -> look)."""
    whole = everywhere(summary)
    datasets = sorted(summary["dataset"].unique())
    return {
        "datasets": datasets if whole in datasets else [whole, *datasets],
        "kinds": {EVERY_KIND: "every kind"} | {kind: KINDS[kind] for kind in kinds_of(summary)},
        "controllers": {name: _look(name) for name in in_order(summary["controller"])},
    }


def _specified(chart: alt.TopLevelMixin, params: Mapping[str, object]) -> dict:
    configured = chart.add_params(*(alt.param(name=name, value=value) for name, value in params.items()))
    font = "system-ui, sans-serif"
    return configured.configure(font=font, axis={"labelFontSize": 12, "titleFontSize": 12}).to_dict()


def _look(controller: str) -> Look:
    """As in the figures."""
    return Look(style.BLACK, "o", style.UPPER_BOUND["linestyle"]) if controller == ORACLE else look(controller)


def _looks(controllers: Sequence[str]) -> dict[str, alt.Scale]:
    """Colour, marker and line of each, as scales of those channels."""
    looks = [_look(name) for name in controllers]
    values = {
        "color": [one.color for one in looks],
        "shape": [one.outline for one in looks],
        "dash": [[round(_LINE_PX * length, 2) for length in one.dashes] or [1, 0] for one in looks],
    }
    return {channel: alt.Scale(domain=list(controllers), range=found) for channel, found in values.items()}


def _cells(summary: pd.DataFrame, equal_latency: pd.DataFrame) -> pd.DataFrame:
    """One row per cell, and per controller and budget the mean over the questions of all datasets."""
    numbers = ["accuracy", "latency_mean_ms", "violation_rate"]
    whole = everywhere(summary)
    rows = summary.assign(configuration=summary["knob_counts"].map(_most_chosen))
    if whole not in set(rows["dataset"]):
        weighted = rows[numbers].mul(rows["num_samples"], axis=0).assign(**rows[[*CELL, "num_samples", "budget_ms"]])
        grouped = weighted.groupby(CELL, observed=True, as_index=False)
        pooled = grouped[[*numbers, "num_samples"]].sum().merge(grouped[["budget_ms"]].mean())
        pooled[numbers] = pooled[numbers].div(pooled["num_samples"], axis=0)
        counts = rows.groupby(CELL, observed=True)["knob_counts"].apply(_added).map(_most_chosen)
        pooled = pooled.merge(counts.rename("configuration").reset_index())
        rows = pd.concat([rows, pooled.assign(dataset=whole)], ignore_index=True)
    at_equal = equal_latency[["dataset", *CELL, "gain", "gain_low", "gain_high"]]
    rows = rows.merge(at_equal, on=["dataset", *CELL], how="left")
    return pd.DataFrame(
        {
            "dataset": rows["dataset"],
            "controller": rows["controller"],
            "budget": rows["budget"].map(lambda budget: Budget.parse(budget).label()),
            "budget_ms": rows["budget_ms"],
            "kind": rows["budget"].map(kind_of),
            "latency_ms": rows["latency_mean_ms"].round(2),
            "accuracy": (100 * rows["accuracy"]).round(1),
            "interval": [
                _interval(100 * low, 100 * high, "%")
                for low, high in zip(rows["accuracy_low"], rows["accuracy_high"], strict=True)
            ],
            "late": (100 * rows["violation_rate"]).round(1),
            "configuration": rows["configuration"],
            "gain": [_gain(row.gain, row.gain_low, row.gain_high) for row in rows.itertuples()],
        }
    )


def _added(texts: pd.Series) -> str:
    total: dict[str, int] = {}
    for text in texts:
        for name, count in json.loads(text).items():
            total[name] = total.get(name, 0) + count
    return json.dumps(total)


def _most_chosen(knob_counts: str) -> str:
    counts = json.loads(knob_counts)
    name = max(counts, key=counts.get)
    share = f"{100 * counts[name] / sum(counts.values()):.0f} % of the requests"
    return f"{name} ({share}; {len(counts)} configurations in all)" if len(counts) > 1 else f"{name} (always)"


def _interval(low: float, high: float, unit: str) -> str:
    return "of single datasets only" if pd.isna(low) else f"{low:.1f} to {high:.1f} {unit}"


def _gain(value: float, low: float, high: float) -> str:
    return "" if pd.isna(value) else f"{100 * value:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


def _statics(profile: pd.DataFrame, grid: pd.DataFrame, whole: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every static configuration, and the corners of the best mixtures of two: per dataset, and over all questions."""
    points, corners = [], []
    knobs = static_configs(grid)[[*KNOBS]].drop_duplicates()
    configs = [KnobConfig(*values) for values in knobs.itertuples(index=False)]
    of_datasets = [
        (dataset, GridOutcomes.of(profile[profile["dataset"] == dataset], configs), GridOutcomes.of(rows, configs))
        for dataset, rows in grid.groupby("dataset", observed=True)
    ]
    if len(of_datasets) > 1:
        names, learned, asked = zip(*of_datasets, strict=True)
        of_datasets.append((whole, _together(learned), _together(asked)))
    for dataset, learned, asked in of_datasets:
        latency_ms, accuracy = asked.latency_ms.mean(axis=0), 100 * asked.accuracy.mean(axis=0)
        named = {"dataset": dataset, "configuration": list(map(str, configs))}
        points.append(pd.DataFrame(named | {"latency_ms": latency_ms.round(2), "accuracy": accuracy.round(1)}))
        at_ms, best = Static.of(learned, asked).frontier
        corners.append(pd.DataFrame({"dataset": dataset, "latency_ms": at_ms, "accuracy": 100 * best}))
    return pd.concat(points, ignore_index=True), pd.concat(corners, ignore_index=True)


def _together(parts: Sequence[GridOutcomes]) -> GridOutcomes:
    ids = [sample_id for part in parts for sample_id in part.sample_ids]
    return GridOutcomes(ids, *(np.vstack([getattr(p, name) for p in parts]) for name in ("accuracy", "latency_ms")))


def _pareto(
    cells: pd.DataFrame, statics: pd.DataFrame, frontiers: pd.DataFrame, controllers: Sequence[str]
) -> alt.LayerChart:
    x = alt.X("latency_ms:Q", title="mean latency (ms)", scale=alt.Scale(zero=False))
    y = alt.Y("accuracy:Q", title="accuracy (%)", scale=alt.Scale(zero=False))
    latency, right = (
        alt.Tooltip("latency_ms:Q", title="mean latency (ms)"),
        alt.Tooltip("accuracy:Q", title="accuracy (%)"),
    )
    cloud = (
        alt.Chart(statics)
        .mark_point(filled=True, color="#BBBBBB", size=26)
        .encode(x, y, tooltip=[alt.Tooltip("configuration:N", title="static configuration"), latency, right])
    )
    frontier = alt.Chart(frontiers).mark_line(color=style.GREY, strokeWidth=1.2).encode(x, y)
    scales = _looks(controllers)
    color = alt.Color("controller:N", scale=scales["color"], legend=None)
    shape = alt.Shape("controller:N", scale=scales["shape"], legend=None)
    dash = alt.StrokeDash("controller:N", scale=scales["dash"], legend=None)
    of_cells = alt.Chart(cells).transform_filter(_SHOWN)
    lines = of_cells.mark_line(strokeWidth=_LINE_PX, opacity=0.7).encode(
        x, y, color, dash, detail=["controller:N", "kind:N"], order="budget_ms:Q"
    )
    marks = of_cells.mark_point(filled=True, size=80, stroke="#333333", strokeWidth=0.5, opacity=1).encode(
        x,
        y,
        color,
        shape,
        tooltip=[
            alt.Tooltip("controller:N"),
            alt.Tooltip("budget:N"),
            right,
            alt.Tooltip("interval:N", title="95 % interval"),
            latency,
            alt.Tooltip("budget_ms:Q", title="budget (ms)", format=".3~g"),
            alt.Tooltip("late:Q", title="later than the budget (%)"),
            alt.Tooltip("gain:N", title="over the best static mixture"),
            alt.Tooltip("configuration:N", title="most chosen"),
        ],
    )
    background = (part.transform_filter(_CHOSEN) for part in (cloud, frontier))
    return alt.layer(*background, lines, marks).properties(width="container", height=380)


def _gain_rows(gains: pd.DataFrame) -> pd.DataFrame:
    """In points, of each kind and by budget: what can be compared stands together."""
    places = {name: place for place, name in enumerate(in_order(gains["controller"]))}
    kinds, pooled = gains["kind"].map(list(KINDS).index), gains["budget"].isin(KINDS)
    value = gains["budget"].where(~pooled).map(lambda budget: Budget.parse(budget).value, na_action="ignore")
    order = kinds, ~pooled, value.fillna(0.0), gains["budget"], gains["controller"].map(places)
    gains = gains.iloc[np.lexsort(order[::-1])]
    pooled = gains["budget"].isin(KINDS)
    labels = [
        KINDS[budget] if of_kind else Budget.parse(budget).label(short=True)
        for budget, of_kind in zip(gains["budget"], pooled, strict=True)
    ]
    return pd.DataFrame(
        {
            "dataset": gains["dataset"],
            "controller": gains["controller"],
            "kind": gains["kind"],
            "pooled": pooled,
            "budget": labels,
            "row": [f"{label}: {name}" for name, label in zip(gains["controller"], labels, strict=True)],
            **{end: (100 * gains[end]).round(2) for end in ("gain", "gain_low", "gain_high")},
            "points": [_gain(row.gain, row.gain_low, row.gain_high) for row in gains.itertuples()],
            "promise": np.where(gains["broken"], "broken", np.where(gains["kind"] == "per-request", "none", "kept")),
        }
    )


def _gains(rows: pd.DataFrame, controllers: Sequence[str]) -> alt.LayerChart:
    shown = [name for name in controllers if name in set(rows["controller"])]
    scales = _looks(shown)
    color = alt.Color("controller:N", scale=scales["color"], legend=None)
    shape = alt.Shape("controller:N", scale=scales["shape"], legend=None)
    order = list(dict.fromkeys(rows["row"]))
    y = alt.Y("row:N", sort=order, title=None, axis=alt.Axis(labelLimit=260, grid=True))
    tooltip = [
        alt.Tooltip("controller:N"),
        alt.Tooltip("budget:N"),
        alt.Tooltip("points:N", title="gain (95 % interval)"),
        alt.Tooltip("promise:N"),
    ]
    base = alt.Chart(rows).transform_filter(_GAINS_SHOWN)
    whiskers = base.mark_rule(strokeWidth=1.4).encode(
        alt.X("gain_low:Q", title="gain (points)"), alt.X2("gain_high:Q"), y, color
    )
    marks = base.mark_point(filled=True, size=60, stroke="#333333", strokeWidth=0.5, opacity=1).encode(
        alt.X("gain:Q"), y, color, shape, tooltip=tooltip
    )
    zero = (
        alt.Chart(pd.DataFrame({"gain": [0.0]})).mark_rule(color=style.GREY, strokeDash=[4, 3]).encode(alt.X("gain:Q"))
    )
    return alt.layer(zero, whiskers, marks).properties(width="container", height=alt.Step(_ROW_PX))
