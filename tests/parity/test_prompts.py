"""Prompt strings and their ids against the official formatter and the released tokenizer."""

import json

import pytest

from adamolmo.model.preprocess import PreprocessConfig, num_image_tokens
from adamolmo.model.tokenizer import SPECIAL_NAMES, Tokenizer, format_prompt


@pytest.fixture(scope="module")
def prompts(golden):
    prompts = json.loads((golden / "preprocess" / "prompts.json").read_text())
    assert prompts["rows"] and prompts["decode_roundtrip"]
    return prompts


@pytest.fixture(scope="module")
def tokenizer(golden):
    return Tokenizer.load(golden / "molmoe_hub")


def test_special_tokens(prompts, tokenizer):
    assert tokenizer.eos_id == prompts["bos_token_id"] == prompts["eos_token_id"]
    for field, name in SPECIAL_NAMES.items():
        assert getattr(tokenizer.specials, field) == prompts["special_tokens"][name], name


def test_prompts(prompts, tokenizer):
    one_crop = num_image_tokens((1, 1), PreprocessConfig())  # these counts are for the released model's crops
    for row in prompts["rows"]:
        prompt = format_prompt(row["question"], row["style"], row.get("options", ()))
        assert prompt == row["prompt"]
        ids = tokenizer.encode(prompt)
        assert ids == row["token_ids"], prompt
        assert 1 + one_crop + len(ids) == row["n_input_tokens_with_336_image"], prompt


def test_prompts_without_style(prompts, tokenizer):
    rows = [row for row in prompts["rows"] if "plain_prompt" in row]
    assert rows
    for row in rows:
        prompt = format_prompt(row["question"], None)
        assert prompt == row["plain_prompt"]
        assert tokenizer.encode(prompt) == row["plain_token_ids"], prompt


def test_decode(prompts, tokenizer):
    for row in prompts["decode_roundtrip"]:
        assert tokenizer.decode(row["ids"]) == row["text"]
        assert tokenizer.decode([*row["ids"], tokenizer.eos_id, *row["ids"]]) == row["text"]
