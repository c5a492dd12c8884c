from dataclasses import replace

import numpy as np
import pytest

from adamolmo.core_exp.latency import choose_samples, latency_pass
from adamolmo.data.samples import Questions
from adamolmo.data.scoring import vqa_score
from adamolmo.errors import AdaMolmoError
from adamolmo.files.columns import STAGES
from adamolmo.knobs import KnobConfig

FULL = KnobConfig("high", 4, 7)


def time_them(engine, samples, configs, **overrides):
    settings = {"repeats": 3, "max_warmup": 10, "seed": 0} | overrides
    return latency_pass(engine, Questions(samples, "tiny", vqa_score), configs, FULL, **settings)


def test_rows_and_what_they_add_up_to(measured_engine, tiny_samples, tiny_grid):
    table, metadata = time_them(measured_engine, tiny_samples[:2], tiny_grid[::4])
    assert len(table) == 2 * len(tiny_grid[::4])
    assert (table["num_runs"] == 3).all()
    assert (table[["vision_ms", "prefill_ms", "elapsed_ms", "reference_ms", "memory_bytes"]] > 0).all(axis=None)
    assert (table["latency_iqr_ms"] > 0).all()
    # The stages leave out what follows the last of them: turning tokens into text. Nothing else, and never the reverse.
    assert (table[[*STAGES]].sum(axis=1) < table["elapsed_ms"]).all()
    assert len(metadata["reference_ms"]) == 2 * 3
    by_sample = table.groupby("sample_id", sort=False)["reference_ms"].first().tolist()
    assert by_sample == [np.median(metadata["reference_ms"][:3]), np.median(metadata["reference_ms"][3:])]
    assert 1 <= metadata["warmup_runs"] <= 10


def test_rounds_are_interleaved_and_the_reference_is_timed_throughout(
    measured_engine, tiny_samples, tiny_grid, monkeypatch
):
    asked, grid, answer = [], tiny_grid[::4], measured_engine.answer

    def recording(image, question, style, controller, limit):
        asked.append((question, controller.config))
        return answer(image, question, style, controller, limit)

    monkeypatch.setattr(measured_engine, "answer", recording)
    monkeypatch.setattr("adamolmo.core_exp.latency.warm_up", lambda run, max_runs: 0)

    def rounds(seed):
        asked.clear()
        time_them(measured_engine, tiny_samples[:2], grid, repeats=2, seed=seed)
        size = len(grid) + 1
        return [asked[start : start + size] for start in range(0, len(asked), size)]

    first = rounds((0, 1))
    assert len(first) == 4
    for part in first:
        assert {config for _, config in part[:-1]} == set(grid)
        assert part[-1] == ("how many objects are there ?", FULL)
    assert len({tuple(config for _, config in part) for part in first}) == 4
    assert rounds((0, 1)) == first != rounds((0, 2))


def test_no_sample_gives_no_row(measured_engine, tiny_grid):
    table, metadata = time_them(measured_engine, [], tiny_grid, repeats=1, max_warmup=1)
    assert table.empty
    assert metadata["reference_ms"] == []


def test_chosen_samples_depend_on_the_seed_only(tiny_samples):
    first, again, other = (choose_samples(tiny_samples, 4, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == 4
    everything = choose_samples(tiny_samples, "all", 0)
    assert everything == choose_samples(tiny_samples, 99, 0)
    assert {sample.sample_id for sample in everything} == {sample.sample_id for sample in tiny_samples}
    assert everything[:4] == first


def test_unreadable_samples_are_not_timed(tiny_samples):
    torn = [replace(sample, image=b"no image") for sample in tiny_samples]
    assert choose_samples([*torn, tiny_samples[0]], 3, seed=0) == [tiny_samples[0]]
    with pytest.raises(AdaMolmoError, match="none of 10 samples has a readable image"):
        choose_samples(torn, 3, seed=0)
