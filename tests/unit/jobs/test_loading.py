import json
from dataclasses import replace
from pathlib import Path

import pytest
from pandas import DataFrame

from adamolmo.config import StudyConfig
from adamolmo.data.scoring import SCORERS
from adamolmo.errors import AdaMolmoError
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import write_table
from adamolmo.jobs.loading import batch_limits, load_engine, load_questions

CONFIG = Path(__file__).parents[3] / "config.yaml"


@pytest.fixture
def split(tiny_samples, tmp_path):
    """Ten samples, of which one has an image that cannot be read."""
    torn = replace(tiny_samples[0], image=tiny_samples[0].image[:50])
    table = DataFrame([vars(sample) | {"answers": list(sample.answers)} for sample in [torn, *tiny_samples[1:]]])
    write_table(table, tmp_path / "evaluation.parquet", SAMPLES)
    return tmp_path / "evaluation.parquet"


def settings(max_failed_fraction: float) -> StudyConfig:
    study = StudyConfig.load(CONFIG)
    core_exp = study.core_exp.model_copy(update={"max_failed_fraction": max_failed_fraction})
    return study.model_copy(update={"core_exp": core_exp})


def test_questions_are_asked_and_scored_as_configured_without_unreadable_images(split, tiny_engine, tiny_samples):
    study = settings(0.1)
    questions, failed = load_questions(study, tiny_engine, "okvqa", split)
    assert questions.samples == tiny_samples[1:]
    assert (questions.style, questions.scorer) == ("okvqa", SCORERS[study.datasets["okvqa"].scorer])
    assert [entry["sample_id"] for entry in failed] == [tiny_samples[0].sample_id]
    assert "cannot be read" in failed[0]["reason"]


def test_too_many_unreadable_images_stop_the_job(split, tiny_engine):
    with pytest.raises(AdaMolmoError, match="1 of 10 samples are unreadable, expected at most 9 %"):
        load_questions(settings(0.09), tiny_engine, "okvqa", split)


def test_batches_are_bounded_as_configured():
    limits = batch_limits(settings(0.1))
    assert (limits.size, limits.memory_bytes) == (64, 1e9)


def test_a_prompt_without_room_for_an_answer_counts_as_failed(split, tiny_engine, tiny_samples):
    """Beside the sample whose image cannot be read."""
    prompt = tiny_engine.prepare(tiny_samples[4].open_image(), tiny_samples[4].question, "okvqa", "high")
    tiny_engine.max_new_tokens = 512 - prompt.num_tokens
    questions, failed = load_questions(settings(0.9), tiny_engine, "okvqa", split)
    assert tiny_samples[4] in questions.samples
    assert len(failed) > 1 and len(questions.samples) + len(failed) == 10
    assert all("the prompt has" in entry["reason"] for entry in failed[1:])
    with pytest.raises(AdaMolmoError, match="of 10 samples"):
        load_questions(settings(0.1), tiny_engine, "okvqa", split)


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"top_k": [2, 9]}, "top_k .*9; this model has 8 experts"),
        ({"top_k": [2], "num_active_blocks": [6, 8]}, "knobs.num_active_blocks has 8; this model has 7 blocks"),
    ],
)
def test_knobs_that_the_model_does_not_have_are_refused_by_the_first_job_that_loads_it(
    tiny_model_dir, tmp_path, knobs, sentence
):
    changes = tmp_path / "knobs.yaml"
    changes.write_text(json.dumps({"knobs": {"num_active_blocks": [6, 7]} | knobs}))
    with pytest.raises(AdaMolmoError, match=sentence):
        load_engine(StudyConfig.load(CONFIG, changes), tiny_model_dir)
