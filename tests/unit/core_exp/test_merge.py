"""Parts of a profile are put together, or refused."""

import numpy as np
import pytest
from pandas import DataFrame
from pandas.testing import assert_frame_equal
from profile_parts import PROVENANCE, change_part, merge, parts, scored, true_stages

from adamolmo.core_exp.accuracy import accuracy_pass
from adamolmo.core_exp.merge import drift, merge_estimated, reference_latency
from adamolmo.data.samples import Questions
from adamolmo.data.scoring import vqa_score
from adamolmo.errors import AdaMolmoError
from adamolmo.files.columns import KNOBS, STAGES
from adamolmo.files.core_exp import CORE_EXP, CORE_EXP_ACCURACY, CORE_EXP_LATENCY
from adamolmo.files.schema import read_table, write_table
from adamolmo.inference.grid import BatchLimits
from adamolmo.knobs import KnobConfig
from adamolmo.statistics.interval import Interval

FULL = KnobConfig("high", 4, 7)


def test_measured_where_timed_and_estimated_elsewhere(tiny_grid, tmp_path):
    table, metadata = merge(*parts(tiny_grid), tiny_grid)
    assert len(table) == 12 * len(tiny_grid)
    assert table.groupby("latency_source")["sample_id"].nunique().to_dict() == {"estimated": 4, "measured": 8}
    np.testing.assert_allclose(table["latency_ms"], table[[*STAGES]].sum(axis=1), rtol=1e-6)
    # The stage times are of the model's form, so estimates of samples that were not timed are exact.
    work = DataFrame(
        [
            scored(int(row.sample_id[1:]), KnobConfig(row.tier, row.top_k, row.num_active_blocks))
            for row in table.itertuples()
        ]
    )
    truth = np.array([true_stages(row) for row in work.itertuples()])
    np.testing.assert_allclose(table[[*STAGES]], truth, rtol=1e-4)
    from_runs = table["latency_source"] == "measured"
    assert (table.loc[from_runs, ["latency_iqr_ms", "memory_bytes"]].to_numpy() == [np.float64(0.1), 2000]).all()
    assert (table.loc[~from_runs, "memory_bytes"] == 1000).all()
    drifted = table.loc[table["drift_pct"] > 0.5, "sample_id"]
    assert set(drifted) == {"s03"}
    assert metadata["drift_pct"] == pytest.approx(4.0)
    assert (metadata["num_samples"], metadata["num_timed"], metadata["answer_agreement"]) == (12, 8, 1.0)
    assert metadata["unaccounted_pct"]["largest"] == pytest.approx(0.4)
    assert metadata["estimate_error_pct"] < 0.01
    assert metadata["estimate_errors"].keys() == {"low", "high", "all"}
    write_table(table, tmp_path / "t.parquet", CORE_EXP, metadata)
    assert read_table(tmp_path / "t.parquet", CORE_EXP)[1]["device"] == {"kind": "cpu"}


def test_the_parts_are_tables_of_their_own(tiny_grid, tmp_path):
    accuracy, latency = parts(tiny_grid)
    for tables, schema in ((accuracy, CORE_EXP_ACCURACY), (latency, CORE_EXP_LATENCY)):
        for name, (table, metadata) in tables.items():
            write_table(table, tmp_path / name, schema, metadata)
            assert len(read_table(tmp_path / name, schema)[0]) == len(table)


def test_modelled_latencies_come_from_the_accuracy_pass(tiny_grid):
    table, metadata = merge(*parts(tiny_grid, clock="modelled"), tiny_grid)
    assert (table["latency_source"] == "modelled").all()
    assert (table["latency_ms"] == 6.0).all()
    assert (metadata["num_timed"], metadata["drift_pct"], metadata["estimate_errors"]) == (0, None, {})


def test_shards_of_a_real_pass_make_the_whole(tiny_engine, tiny_samples, tiny_grid):
    def part(samples, configs):
        table = accuracy_pass(tiny_engine, Questions(samples, "tiny", vqa_score), configs, BatchLimits(4)).assign(
            dataset="tiny"
        )
        return table, PROVENANCE | {"clock": "modelled", "failed": []}

    whole = merge({"whole": part(tiny_samples, tiny_grid[:4])}, {}, tiny_grid[:4])
    shards = {f"{shard}": part(tiny_samples[shard::3], tiny_grid[:4]) for shard in range(3)}
    split = merge(shards | {"empty": part([], tiny_grid[:4])}, {}, tiny_grid[:4])
    assert split[1] == whole[1]
    order = ["sample_id", *KNOBS]
    first, second = (table.sort_values(order, ignore_index=True) for table, _ in (whole, split))
    assert_frame_equal(first, second, check_exact=True)


@pytest.mark.parametrize(
    ("key", "value"),
    [("device", {"kind": "cuda"}), ("clock", "modelled"), ("model_checksum", "x"), ("data_checksum", "x"), ("seed", 1)],
)
def test_parts_that_do_not_belong_together_are_refused(tiny_grid, key, value):
    accuracy, latency = parts(tiny_grid)
    with pytest.raises(AdaMolmoError, match=f"^a-low-1: was made with {key} .*, but a-low-0 with "):
        merge(change_part(accuracy, "a-low-1", **{key: value}), latency, tiny_grid)
    with pytest.raises(AdaMolmoError, match=f"^l-0: was made with {key} "):
        merge(accuracy, change_part(latency, "l-0", **{key: value}), tiny_grid)


def test_missing_rows_are_refused(tiny_grid):
    accuracy, latency = parts(tiny_grid)
    without = {name: part for name, part in accuracy.items() if name != "a-low-0"}
    with pytest.raises(AdaMolmoError, match="the profile has 6 samples of low-k2-b5, expected 12 as in the whole"):
        merge(without, latency, tiny_grid)
    with pytest.raises(AdaMolmoError, match="216 rows; expected 12 samples x 17 configurations"):
        merge(accuracy, latency, tiny_grid[:-1])


def test_other_answers_than_those_scored_are_refused(tiny_grid):
    accuracy, latency = parts(tiny_grid)
    other = change_part(latency, "l-0", lambda table: table.assign(answer="other"))
    with pytest.raises(AdaMolmoError, match="only 50.0 % of the timed runs gave the scored answer"):
        merge(accuracy, other, tiny_grid)
    unknown = change_part(latency, "l-0", lambda table: table.assign(sample_id="z" + table["sample_id"]))
    with pytest.raises(AdaMolmoError, match="was timed but not scored"):
        merge(accuracy, unknown, tiny_grid)
    with pytest.raises(AdaMolmoError, match="no sample was timed"):
        merge(accuracy, {name: (table.iloc[:0], found) for name, (table, found) in latency.items()}, tiny_grid)


def test_stages_that_leave_time_out_are_refused(tiny_grid):
    accuracy, latency = parts(tiny_grid)
    for name in latency:
        latency = change_part(latency, name, lambda table: table.assign(elapsed_ms=table["elapsed_ms"] * 1.02))
    with pytest.raises(AdaMolmoError, match="stages add up to 2.4 % less than the request's own time"):
        merge(accuracy, latency, tiny_grid)


@pytest.mark.parametrize("value", [np.nan, -5.0, 0.0])
def test_impossible_latencies_are_not_written(tiny_grid, tmp_path, value):
    table, metadata = merge(*parts(tiny_grid), tiny_grid)
    table.loc[7, "latency_ms"] = value
    with pytest.raises(AdaMolmoError, match="column latency_ms has"):
        write_table(table, tmp_path / "t.parquet", CORE_EXP, metadata)


def test_failed_samples_are_joined_and_counted(tiny_grid):
    accuracy, latency = parts(tiny_grid)
    torn = [{"sample_id": "torn", "reason": "no image"}]
    accuracy = change_part(change_part(accuracy, "a-low-0", failed=torn), "a-high-0", failed=torn)
    assert merge(accuracy, latency, tiny_grid)[1]["failed"] == torn
    with pytest.raises(AdaMolmoError, match="1 of 13 samples are unreadable, expected at most 5 %.*no image"):
        merge(accuracy, latency, tiny_grid, max_failed_fraction=0.05)


def test_drift_is_reported(tiny_grid, capsys):
    accuracy, latency = parts(tiny_grid)
    merge(accuracy, change_part(latency, "l-1", reference_ms=[12.0] * 4), tiny_grid)
    assert "latency drifted by 20.0 % (limit 5 %): busy device?" in capsys.readouterr().err


def test_drift_compares_medians_of_parts_and_passes():
    assert drift([[10.0] * 20]) == 0
    assert drift([[10.0] * 10 + [11.0] * 10]) == pytest.approx(10.0)
    assert drift([[10.0, 10.0, 10.0, 99.0, 10.0] * 4]) == 0
    assert drift([[10.0], [], [12.0]]) == pytest.approx(20.0)


def test_reference_is_the_median_of_the_full_configuration(tiny_grid):
    table, metadata = merge(*parts(tiny_grid), tiny_grid)
    reference = reference_latency(table, metadata, FULL)
    full = table[(table["tier"] == "high") & (table["top_k"] == 4) & (table["num_active_blocks"] == 7)]
    assert reference.median_latency_ms == pytest.approx(np.median(full["latency_ms"]))
    assert (reference.config, reference.clock) == ("high-k4-b7", "measured")
    assert reference.reference_request_ms == Interval(10.0, 10.0, 10.0)
    with pytest.raises(AdaMolmoError, match="no rows of high-k8-b7"):
        reference_latency(table, metadata, KnobConfig("high", 8, 7))


def test_the_modelled_clock_times_no_reference_request(tiny_grid):
    table, metadata = merge(*parts(tiny_grid, clock="modelled"), tiny_grid)
    assert reference_latency(table, metadata, FULL).reference_request_ms is None


def test_strings_are_dictionary_encoded(tiny_grid, tmp_path):
    import pyarrow.parquet as pq

    table, metadata = merge(*parts(tiny_grid), tiny_grid)
    write_table(table, tmp_path / "t.parquet", CORE_EXP, metadata)
    group = pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0)
    columns = {group.column(index).path_in_schema: group.column(index) for index in range(group.num_columns)}
    for name in ("dataset", "sample_id", "tier", "prediction", "latency_source"):
        assert "RLE_DICTIONARY" in columns[name].encodings


def estimated(accuracy, profile, grid):
    limits = {"fixed_prefix_layers": 3, "max_new_tokens": 99, "max_failed_fraction": 0.5}
    return merge_estimated(accuracy, profile, grid, **limits)


def test_questions_that_were_not_timed_take_what_the_profile_says(tiny_grid, tmp_path):
    """The stage times are of the model's form, so the estimates are exact; the profile's own are in them, too."""
    accuracy, latency = parts(tiny_grid)
    profile, metadata = merge(accuracy, latency, tiny_grid)
    table, of_table = estimated(accuracy, (profile, metadata), tiny_grid)
    assert set(table["latency_source"]) == {"estimated"} and len(table) == len(profile)
    rows = (scored(int(row.sample_id[1:]), KnobConfig(*row[-3:])) for row in table[["sample_id", *KNOBS]].itertuples())
    truth = np.array([true_stages(row) for row in DataFrame(list(rows)).itertuples()])
    np.testing.assert_allclose(table[[*STAGES]], truth, rtol=1e-4)
    assert (of_table["num_timed"], of_table["reference_request_ms"]) == (0, None)
    write_table(table, tmp_path / "grid.parquet", CORE_EXP, of_table)


def test_questions_that_were_not_timed_have_the_modelled_times_of_the_modelled_clock(tiny_grid):
    accuracy, _ = parts(tiny_grid, clock="modelled")
    profile = merge(accuracy, {}, tiny_grid)
    table, _ = estimated(accuracy, profile, tiny_grid)
    assert_frame_equal(table, profile[0])


def test_a_profile_of_another_device_lends_no_times(tiny_grid):
    accuracy, latency = parts(tiny_grid)
    profile, metadata = merge(accuracy, latency, tiny_grid)
    with pytest.raises(AdaMolmoError, match="a-low-0: was made with device .*cpu.* but the profile with .*gpu"):
        estimated(accuracy, (profile, metadata | {"device": {"kind": "gpu"}}), tiny_grid)
