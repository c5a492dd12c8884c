"""Training of the embedded model: vocabulary, curriculum, packing and the optimiser."""

import pytest
import torch

from adamolmo.data.procedural import GENERATORS, Question, scene
from adamolmo.embedded.batches import pack_images
from adamolmo.embedded.lessons import DATASET_OF_SCENE
from adamolmo.embedded.losses import answer_logits
from adamolmo.embedded.muon import Muon, orthogonalise
from adamolmo.embedded.recipe import ARCHITECTURE, TIERS_MAX_CROPS, Recipe, stage_at, total_steps
from adamolmo.embedded.vocabulary import build_tokenizer, save_tokenizer
from adamolmo.model.inputs import build_inputs
from adamolmo.model.preprocess import PreprocessConfig, preprocess
from adamolmo.model.tokenizer import Tokenizer, format_prompt


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(directory)
    return Tokenizer.load(directory)


@pytest.fixture(scope="module")
def model():
    return Recipe().new_model().eval().requires_grad_(False)


def test_the_vocabulary_fits_the_architecture():
    assert build_tokenizer().get_vocab_size() == ARCHITECTURE["vocab_size"] <= ARCHITECTURE["embedding_size"]


def test_packed_questions_are_answered_as_if_asked_alone(model, tokenizer):
    config = PreprocessConfig.of_model(model.config)
    crops = preprocess(scene("text_vqa", "training", 0).image, 1, 4, config)
    asked = [Question("what number is on the red sign ?", "12"), Question("is there a red star ?", "no")]
    batch = pack_images([crops], [asked], ["vqa2"], tokenizer, config)
    packed, targets = answer_logits(model, batch)
    alone = []
    for question in asked:
        prompt = tokenizer.encode(format_prompt(question.text, "vqa2"))
        answer = tokenizer.encode(f" {question.answer}")
        inputs = build_inputs(prompt + answer, crops, config, tokenizer.specials)
        logits = model(inputs.input_ids, None, inputs.pixels, inputs.masks, inputs.image_input_idx)
        alone.append(logits[0, -len(answer) - 1 :])
    torch.testing.assert_close(packed, torch.cat(alone), rtol=1e-4, atol=1e-4)
    expected = [token for q in asked for token in [*tokenizer.encode(f" {q.answer}"), tokenizer.eos_id]]
    assert targets.tolist() == expected


def test_every_scene_of_the_curriculum_is_known_and_shares_are_of_the_whole():
    recipe = Recipe()
    for stage in (*recipe.vision.stages, *recipe.joint.stages):
        assert stage.scenes.keys() <= DATASET_OF_SCENE.keys()
        assert stage.tiers.keys() <= TIERS_MAX_CROPS.keys()
        assert all(abs(sum(shares.values()) - 1) < 1e-9 for shares in (stage.tiers, stage.scenes) if shares)
    assert set(DATASET_OF_SCENE.values()) == set(GENERATORS)


def test_a_step_belongs_to_the_stage_that_has_begun_last():
    stages = Recipe().joint.stages
    first, last = stages[0].steps, total_steps(stages)
    assert [stage_at(stages, step) for step in (0, first - 1, first, last - 1)] == [
        stages[0],
        stages[0],
        stages[1],
        stages[-1],
    ]


def test_orthogonalised_updates_have_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((6, 10), (4, 12, 5)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.5
        assert values.max() < 1.4


def test_muon_descends_on_stacked_matrices():
    torch.manual_seed(0)
    weights, wanted = torch.nn.Parameter(torch.randn(3, 4, 6)), torch.randn(3, 4, 6)
    optimiser = Muon([weights], peak=0.02)
    for _ in range(300):
        ((weights - wanted) ** 2).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    assert (weights - wanted).abs().mean() < 0.05 < (torch.randn(3, 4, 6) - wanted).abs().mean()
