"""A tiny MolmoE with random weights, its vocabulary, and samples for it: shared by the tests of everything above it."""

import io
import json
import os
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hub_cache import released_config
from made_documents import manifest
from PIL import Image
from tokenizers import Tokenizer as Backend
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from adamolmo.data.samples import Sample
from adamolmo.files.documents import write_json
from adamolmo.files.writing import file_checksum
from adamolmo.inference.clock import MeasuredClock, ModelledClock
from adamolmo.inference.engine import Engine
from adamolmo.knobs import BlockRanking, KnobConfig
from adamolmo.model.backend import MolmoEBackend
from adamolmo.model.checkpoint import PREPARED_FILES, save_released
from adamolmo.model.config import MolmoEConfig, VisionConfig
from adamolmo.model.molmoe import MolmoE
from adamolmo.model.preprocess import CropRange
from adamolmo.model.tokenizer import SPECIAL_NAMES, Tokenizer

pytest_plugins = ["finished_study"]
torch.set_num_threads(1)  # more threads than free cores make such small products many times slower

WORDS = "User: Assistant: tiny: what colour is the number of red blue green one two three ?".split()  # noqa: SIM905


if not torch.cuda.is_available():
    # Triton asks when it is imported, which any test of a worker may be the first to do (transformers does).
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(scope="session")
def tiny_config() -> MolmoEConfig:
    """Crops of 24 px become 9 tokens, as in the embedded model; 7 blocks, 8 experts of which 4 are used."""
    vision = VisionConfig(
        image_size=(24, 24),
        patch_size=4,
        width=16,
        num_layers=2,
        num_heads=2,
        head_dim=8,
        mlp_dim=32,
        num_positions=37,
        norm_eps=1e-5,
    )
    return MolmoEConfig(
        vision=vision,
        d_model=16,
        num_layers=7,
        num_heads=2,
        num_experts=8,
        top_k=4,
        expert_dim=12,
        projector_dim=16,
        embedding_size=24,
        additional_vocab_size=8,
        rope_theta=10000.0,
        norm_eps=1e-5,
        max_positions=512,
        vit_layers=(0, -1),
        pooling=(2, 2),
        overlap_margins=(2, 2),
        fixed_prefix_layers=3,
    )


@pytest.fixture(scope="session")
def tiny_model(tiny_config) -> MolmoE:
    """Random weights, large enough that answers differ between samples and between knobs."""
    torch.manual_seed(0)
    model = MolmoE(tiny_config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=2.0 * parameter.shape[-1] ** -0.5)
        model.transformer["wte"].embedding.normal_(std=2.0)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tiny_tokenizer_file(tmp_path_factory):
    """Ids 0..23 are words that the head can say (the end token among them), 24..29 only occur in the prompt."""
    sayable = [SPECIAL_NAMES["eos"], *WORDS]
    fillers = [f"word{i}" for i in range(24 - len(sayable))]
    names = [*sayable, *fillers, *(SPECIAL_NAMES[f] for f in ("im_start", "im_end", "im_patch", "im_col", "image"))]
    backend = Backend(WordLevel({name: i for i, name in enumerate(names)}, unk_token=fillers[0]))
    backend.pre_tokenizer = WhitespaceSplit()
    backend.add_special_tokens(list(SPECIAL_NAMES.values()))
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    backend.save(str(path))
    return path


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_tokenizer_file) -> Tokenizer:
    return Tokenizer.load(tiny_tokenizer_file.parent)


@pytest.fixture(scope="session")
def make_tiny_engine(tiny_model, tiny_tokenizer) -> Callable[[], Engine]:
    """Tiers of 1 and 4 crops, blocks 5 and 3 removable, modelled clock."""
    tiers = {"low": CropRange(1, 1), "high": CropRange(1, 4)}
    return lambda: Engine(
        MolmoEBackend(tiny_model, tiny_tokenizer, tiers), BlockRanking(7, (5, 3)), ModelledClock(), max_new_tokens=4
    )


@pytest.fixture
def tiny_engine(make_tiny_engine) -> Engine:
    """One that a test may change."""
    return make_tiny_engine()


@pytest.fixture
def measured_engine(tiny_engine) -> Engine:
    """The same on the CPU's own clock."""
    tiny_engine.clock = MeasuredClock("cpu")
    return tiny_engine


@pytest.fixture(scope="session")
def tiny_grid() -> list[KnobConfig]:
    return [KnobConfig(tier, k, b) for tier in ("low", "high") for k in (2, 3, 4) for b in (5, 6, 7)]


@pytest.fixture(scope="session")
def tiny_samples() -> list[Sample]:
    """Ten samples over five images of different shapes, with questions of different lengths."""
    rng = np.random.default_rng(0)
    samples = []
    for index in range(10):
        image_index = index // 2
        size = (20 + 9 * image_index, 44 - 5 * image_index, 3)
        pixels = np.random.default_rng(image_index).integers(0, 256, size, dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="PNG")
        question = " ".join(rng.choice(WORDS[3:], size=3 + index % 5))
        answers = tuple(rng.choice(WORDS[3:], size=3).tolist())
        samples.append(Sample(f"s{index}", f"i{image_index}", file.getvalue(), question, answers))
    return samples


@pytest.fixture
def tiny_model_dir(tmp_path, tiny_model, tiny_config, tiny_tokenizer_file):
    """The tiny model as a prepared model directory, in `tmp_path / "results/model"`."""
    directory = tmp_path / "results" / "model"
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(released_config(tiny_config)))
    (directory / "tokenizer.json").write_bytes(tiny_tokenizer_file.read_bytes())
    save_released(tiny_model, directory / "model.safetensors", torch.float32)
    checksum = file_checksum(*(directory / name for name in PREPARED_FILES))
    write_json(manifest(7, checksum, PREPARED_FILES), directory / "manifest.json")
    return directory
