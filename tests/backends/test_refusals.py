"""What cannot be used is refused in one sentence."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")

import torch
from requests_of import QUESTION, prompt_of
from safetensors.torch import load_file, save_file
from tiny_families import TINY_FAMILIES

from adamolmo.errors import AdaMolmoError
from adamolmo.transformers_backend import self_check as checks
from adamolmo.transformers_backend.loading import load, prepare
from adamolmo.transformers_backend.self_check import self_check
from adamolmo.transformers_backend.weights import load_config, load_model, read_family


def load_aria(directory: Path, **tiers):
    return load(directory, tiers=tiers or TINY_FAMILIES["aria"].tiers, fixed_prefix_layers=3)


@pytest.fixture
def aria(checkpoint, tmp_path) -> Path:
    return shutil.copytree(checkpoint("aria"), tmp_path / "aria")


def test_an_unknown_model_is_refused_with_those_that_are_known(aria):
    (aria / "config.json").write_text(json.dumps({"model_type": "llama4"}))
    known = ", ".join(sorted(TINY_FAMILIES))
    with pytest.raises(AdaMolmoError, match=rf"config\.json: model_type is 'llama4'; expected one of {known}\.$"):
        load_aria(aria)


def test_weights_that_are_no_safetensors_are_refused(aria):
    (aria / "model.safetensors").rename(aria / "pytorch_model.bin")
    with pytest.raises(AdaMolmoError, match=r"expected weights as \*\.safetensors, found pytorch_model\.bin, a pickle"):
        load_aria(aria)


@pytest.mark.parametrize("file", ["tokenizer.json", "preprocessor_config.json", "config.json"])
def test_a_missing_file_is_named(aria, file):
    (aria / file).unlink()
    with pytest.raises(AdaMolmoError, match=file.replace(".", r"\.")):
        load_aria(aria)


def test_arguments_that_a_tier_cannot_set_are_refused(aria):
    with pytest.raises(AdaMolmoError, match=r"^tier 'low' sets 'size'; for aria expected max_image_size, split_image,"):
        load_aria(aria, low={"size": {"shortest_edge": 4, "longest_edge": 8}})
    with pytest.raises(AdaMolmoError, match=r"^tier 'low': AriaImageProcessorPil does not take .*490 or 980"):
        load_aria(aria, low={"max_image_size": 500})


def test_a_tier_that_does_not_exist_is_refused(loaded, pictures):
    with pytest.raises(AdaMolmoError, match="tier is 'huge'; expected one of low, medium, high"):
        prompt_of(loaded("aria"), pictures[0], tier="huge")


@pytest.mark.parametrize("top_k", [0, 99])
def test_a_top_k_that_the_model_does_not_have_is_refused(loaded, top_k, sizes):
    backend = loaded("aria")
    with (
        pytest.raises(AdaMolmoError, match=rf"^top_k is {top_k}; this model has {sizes.experts} experts"),
        backend.decoder.layers.knobs(top_k),
    ):
        pass
    with backend.decoder.layers.knobs(1):  # the refused pass is over
        pass


def test_a_prompt_without_room_and_a_question_without_words_are_refused(loaded, pictures):
    backend = loaded("aria")
    with pytest.raises(AdaMolmoError, match=r"^the prompt has \d+ tokens .* room for 9:"):
        backend.prepare(pictures[0], [backend.read_question(QUESTION, None)], "low", 9)
    with pytest.raises(AdaMolmoError, match="the question has no tokens"):
        backend.prepare(pictures[0], [backend.read_question("  ", None)], "low", 999)


def test_without_the_package_the_sentence_says_how_to_install_it():
    script = (
        "import sys; sys.modules['transformers'] = None\n"
        "from adamolmo.errors import AdaMolmoError\n"
        "try:\n    import adamolmo.transformers_backend.loading\n"
        "except AdaMolmoError as error:\n    print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "needs the package transformers 5.23" in said and said.endswith("-e '.[transformers]'.\n")


def test_the_table_of_families_needs_neither_torch_nor_transformers():
    script = (
        "import sys; import adamolmo.transformers_backend.families\n"
        "print(sorted({'torch', 'transformers'} & sys.modules.keys()))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("name", TINY_FAMILIES)
def test_a_checkpoint_is_prepared_as_one_file_and_passes_its_self_check(name, checkpoint, tmp_path):
    made = prepare(checkpoint(name), tmp_path / name, torch.float32, 3)
    assert len(made.checks) == 5 and all(check.difference <= min(check.allowed, 1e-5) for check in made.checks)
    assert made.model_type == name
    assert sorted(made.files) == sorted(path.name for path in (tmp_path / name).iterdir())
    backend = load(tmp_path / name, tiers=TINY_FAMILIES[name].tiers, fixed_prefix_layers=3)
    assert made.num_parameters == sum(weight.numel() for weight in backend.decoder.model.parameters())
    assert made.num_blocks == backend.sizes.num_layers
    want, got = (load_file(path / "model.safetensors") for path in (checkpoint(name), tmp_path / name))
    assert want.keys() == got.keys() and all(torch.equal(want[key], got[key]) for key in want)


def test_two_preparations_are_equal_to_the_byte_and_shards_become_one_file(checkpoint, tmp_path):
    source = checkpoint("aria")
    family = read_family(source)
    model = load_model(source, family, load_config(source, family, 3), torch.float32, "cpu")
    shards = shutil.copytree(source, tmp_path / "shards")
    (shards / "model.safetensors").unlink()
    model.save_pretrained(shards, max_shard_size="1MB")
    assert len(list(shards.glob("*.safetensors"))) > 1
    for name in ("one", "two"):
        prepare(shards, tmp_path / name, torch.bfloat16, 3)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    assert {tensor.dtype for tensor in load_file(tmp_path / "one/model.safetensors").values()} == {torch.bfloat16}


def test_weights_that_are_no_numbers_are_refused(aria, tmp_path):
    weights = load_file(aria / "model.safetensors")
    name = next(key for key in weights if key.endswith("q_proj.weight"))
    weights[name][0, 0] = torch.nan
    save_file(weights, aria / "model.safetensors", {"format": "pt"})
    with pytest.raises(AdaMolmoError, match=rf"tensor {name} has NaN or infinite values as torch\.float32"):
        prepare(aria, tmp_path / "out", torch.float32, 3)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("prefix_and_rest", "prefix and rest equal the stock model"),
        ("full_knobs", "all knobs at their highest equal the stock model"),
        ("top_k", "top_k equals a model built with it"),
        ("cached_decoding", "decoding without a block equals doing it anew"),
        ("budget_token", "a budget token leaves the prompt as it was"),
    ],
)
def test_a_model_that_fails_its_self_check_is_refused(loaded, monkeypatch, broken, sentence):
    backend, right = loaded("aria"), getattr(checks._Comparisons, broken)
    layers = backend.decoder.layers
    stock = layers._stock[4]

    def wrong(self):
        """The same comparison, with a layer that does something else than the stock model's."""
        layers._stock[4] = lambda hidden, *args, **kwargs: stock(1.01 * hidden, *args, **kwargs)
        try:
            return right(self)
        finally:
            layers._stock[4] = stock

    if broken == "full_knobs":
        set_top_k = layers._set_top_k
        monkeypatch.setattr(layers, "_set_top_k", lambda top_k: set_top_k(max(1, top_k - 1)))
        monkeypatch.setattr(checks._Comparisons, "prefix_and_rest", lambda self: 0.0)
    elif broken == "cached_decoding":  # both of its sides run the same layers: the cache is what may be wrong
        fork = type(backend.decoder).run_token
        monkeypatch.setattr(
            type(backend.decoder), "run_token", lambda self, token, at, *a, **k: fork(self, token, at + 1, *a, **k)
        )
    else:
        monkeypatch.setattr(checks._Comparisons, broken, wrong)
    with pytest.raises(AdaMolmoError, match=f"^this aria model fails its check '{sentence}': .*it cannot be used"):
        self_check(backend)
    monkeypatch.undo()
    layers._set_top_k(layers.top_k)
    self_check(backend)


@pytest.mark.parametrize("file", ["preprocessor_config.json", "generation_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["{", "[1, 2]"])
def test_a_file_that_the_library_cannot_read_is_named_in_one_sentence(aria, file, content):
    (aria / file).write_text(content)
    with pytest.raises(AdaMolmoError, match=rf"{re.escape(file)}: transformers cannot use it \([^\n]*\)\.$"):
        load_aria(aria)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("num_hidden_layers", "six", r"config\.json: transformers cannot use it \([^\n]*\)\.$"),
        ("num_attention_heads", 0, r"config\.json: transformers cannot use it \([^\n]*\)\.$"),
        ("moe_topk", 99, r"^the model's top_k is 99; it has \d+ experts, expected 1 to that\.$"),
        ("hidden_size", 48, r"tensors are of another shape \([^\n]*\); expected those of its configuration\.$"),
        ("vocab_size", 9, r"ids up to \d+; the model's embedding has 9 rows\.$"),
    ],
)
def test_a_configuration_that_no_model_can_have_is_refused(aria, key, value, sentence):
    config = json.loads((aria / "config.json").read_text())
    config["text_config"][key] = value
    (aria / "config.json").write_text(json.dumps(config))
    with pytest.raises(AdaMolmoError, match=sentence):
        load_aria(aria)


def test_quantised_weights_are_refused(aria, tmp_path):
    weights = load_file(aria / "model.safetensors")
    name = next(key for key in weights if key.endswith("q_proj.weight"))
    save_file(weights | {name: weights[name].to(torch.float8_e4m3fn)}, aria / "model.safetensors", {"format": "pt"})
    with pytest.raises(AdaMolmoError, match=rf"tensor {name} is F8_E4M3; expected one of BF16, F16, F32, F64\.$"):
        prepare(aria, tmp_path / "out", torch.float32, 3)


def test_logits_that_are_no_numbers_fail_the_self_check_in_one_sentence(loaded, monkeypatch):
    backend = loaded("aria")
    head = backend.decoder.layers.head
    monkeypatch.setattr(head, "forward", lambda hidden: torch.nan * torch.nn.functional.linear(hidden, head.weight))
    with pytest.raises(AdaMolmoError, match="'prefix and rest equal the stock model': logits .* not all finite;"):
        self_check(backend)
