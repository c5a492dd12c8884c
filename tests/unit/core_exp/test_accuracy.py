import pytest
from flop_counting import count
from pandas.testing import assert_frame_equal

from adamolmo.core_exp.accuracy import accuracy_pass
from adamolmo.data.samples import Questions
from adamolmo.data.scoring import vqa_score
from adamolmo.files.columns import KNOBS, STAGES
from adamolmo.inference.controller import FixedController, Limit
from adamolmo.inference.grid import BatchLimits
from adamolmo.knobs import KnobConfig


def accuracy(engine, samples, grid, batch_size=4):
    return accuracy_pass(engine, Questions(samples, "tiny", vqa_score), grid, BatchLimits(batch_size))


def alone(engine, sample, config):
    return engine.answer(sample.open_image(), sample.question, "tiny", FixedController(config), Limit(100.0))


def test_every_row_is_what_the_engine_says_one_by_one(tiny_engine, tiny_samples, tiny_grid):
    table = accuracy(tiny_engine, tiny_samples[::3], tiny_grid)
    assert len(table) == 4 * len(tiny_grid)
    assert table["prediction"].nunique() > 10
    assert not table.duplicated(["sample_id", *KNOBS]).any()
    samples = {sample.sample_id: sample for sample in tiny_samples}
    for row in table.itertuples():
        sample = samples[row.sample_id]
        one = alone(tiny_engine, sample, KnobConfig(row.tier, row.top_k, row.num_active_blocks))
        assert (row.prediction, row.accuracy) == (one.answer, vqa_score(one.answer, sample.answers))
        sizes = row.num_crops, row.input_tokens, row.output_tokens, row.flops, row.memory_bytes
        assert sizes == (one.num_crops, one.input_tokens, one.output_tokens, one.flops, one.memory_bytes)
        modelled = [getattr(row, f"modelled_{stage}") for stage in STAGES]
        assert modelled == pytest.approx([getattr(one.stages, stage) for stage in STAGES], rel=1e-6)
        assert (row.image_id, row.decode_steps) == (sample.image_id, min(one.output_tokens, 3))


def test_flops_of_a_row_are_those_that_torch_counts(tiny_engine, tiny_samples, tiny_grid):
    for row in accuracy(tiny_engine, tiny_samples[4:5], tiny_grid[::4]).itertuples():
        config = KnobConfig(row.tier, row.top_k, row.num_active_blocks)
        assert row.flops == count(lambda config=config: alone(tiny_engine, tiny_samples[4], config))


def test_two_passes_are_equal_however_they_are_batched(tiny_engine, tiny_samples, tiny_grid):
    order = ["sample_id", *KNOBS]
    first, second = (
        accuracy(tiny_engine, tiny_samples, tiny_grid[:6], batch_size=size).sort_values(order, ignore_index=True)
        for size in (1, 8)
    )
    assert_frame_equal(first, second, check_exact=True)


def test_no_sample_gives_no_row(tiny_engine, tiny_grid):
    assert accuracy(tiny_engine, [], tiny_grid).empty
