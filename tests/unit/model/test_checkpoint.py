"""Checkpoints of every layout, read strictly, prepared within little memory, mapped by the jobs that use them."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoint_layouts import write_olmo_checkpoint
from hub_cache import write_released_checkpoint
from safetensors.torch import load_file, save_file

from adamolmo.backend import prepared
from adamolmo.backend.prepared import check_prepared
from adamolmo.errors import AdaMolmoError
from adamolmo.files.writing import file_checksum
from adamolmo.model.checkpoint import (
    INDEX,
    PREPARED_FILES,
    WEIGHTS,
    load_model,
    prepare_checkpoint,
    save_released,
)
from adamolmo.model.molmoe import MolmoE


@pytest.fixture
def released(tmp_path, tiny_model, tiny_tokenizer_file) -> Path:
    """Four files with an index."""
    folder = tmp_path / "released"
    folder.mkdir()
    write_released_checkpoint(folder, tiny_model, shards=4, dtype=torch.float32)
    shutil.copy(tiny_tokenizer_file, folder / "tokenizer.json")
    return folder


def assert_equal(model: MolmoE, expected: MolmoE) -> None:
    state = expected.state_dict()
    assert model.state_dict().keys() == state.keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name].to(tensor.dtype)), name


def test_sharded_checkpoint(released, tiny_model):
    assert len(list(released.glob("*.safetensors"))) == 4
    assert_equal(load_model(released), tiny_model)


def test_other_spelling_of_head_and_configuration(released, tiny_model):
    for path in released.glob("*.safetensors"):
        tensors = load_file(path)
        if "lm_head.weight" in tensors:
            tensors["model.transformer.ff_out.weight"] = tensors.pop("lm_head.weight")
        save_file(tensors, path)
    config = json.loads((released / "config.json").read_text())
    for old, new in {
        "d_model": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "moe_num_experts": "num_experts",
        "moe_top_k": "num_experts_per_tok",
        "layer_norm_eps": "rms_norm_eps",
    }.items():
        config[new] = config.pop(old)
    (released / "config.json").write_text(json.dumps(config))
    assert_equal(load_model(released), tiny_model)


def test_native_olmo_checkpoint(tmp_path, released, tiny_model):
    folder = tmp_path / "olmo"
    folder.mkdir()
    write_olmo_checkpoint(folder, tiny_model)
    shutil.copy(released / "tokenizer.json", folder)
    assert_equal(load_model(folder), tiny_model)
    prepare_checkpoint(folder, tmp_path / "from_olmo", torch.bfloat16)
    prepare_checkpoint(released, tmp_path / "from_released", torch.bfloat16)
    for name in PREPARED_FILES:
        assert (tmp_path / "from_olmo" / name).read_bytes() == (tmp_path / "from_released" / name).read_bytes(), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prepared_model_is_mapped(tmp_path, released, tiny_model, dtype):
    prepare_checkpoint(released, tmp_path / "model", dtype)
    assert {path.name for path in (tmp_path / "model").iterdir()} == set(PREPARED_FILES)
    model = load_model(tmp_path / "model", dtype=dtype)
    assert_equal(model, tiny_model)
    mapped = [
        range(*(int(edge, 16) for edge in line.split()[0].split("-")))
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(tmp_path / "model" / WEIGHTS))
    ]
    assert all(any(tensor.data_ptr() in part for part in mapped) for tensor in model.state_dict().values())


def test_the_prepared_file_is_ordinary_safetensors(tmp_path, released, tiny_model):
    prepare_checkpoint(released, tmp_path / "model", torch.float32)
    tensors = load_file(tmp_path / "model" / WEIGHTS)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in tiny_model.state_dict().items())


def change(folder: Path, edit) -> None:
    """Applies `edit` to the tensors of the checkpoint's file that has the first expert's gate."""
    for path in sorted(folder.glob("*.safetensors")):
        tensors = load_file(path)
        if GATE in tensors:
            edit(tensors)
            save_file(tensors, path)


GATE = "model.transformer.blocks.0.mlp.experts.0.gate_proj.weight"


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda t: t.pop(GATE), f"missing tensors {GATE.removeprefix('model.')}; expected exactly the tensors"),
        (lambda t: t.update(extra=t[GATE].clone()), "unexpected tensors extra; expected"),
        (lambda t: t.update({GATE: t[GATE][1:].clone()}), "experts.0.gate_proj.weight [11, 16] instead of [12, 16]"),
        (lambda t: t.update({GATE.removeprefix("model."): t[GATE].clone()}), "is there twice; expected"),
    ],
)
def test_a_wrong_tensor_is_named(released, tmp_path, edit, sentence):
    change(released, edit)
    with pytest.raises(AdaMolmoError, match=re.escape(sentence)):
        load_model(released)
    with pytest.raises(AdaMolmoError, match=re.escape(sentence)):
        prepare_checkpoint(released, tmp_path / "model", torch.bfloat16)
    assert not (tmp_path / "model" / WEIGHTS).exists()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            lambda folder: (folder / "model-00002-of-00004.safetensors").unlink(),
            "00002-of-00004.safetensors: cannot be",
        ),
        (lambda folder: (folder / INDEX).write_text("{}"), f"{INDEX}: cannot be read as the index of a checkpoint"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json: cannot be read as the model's"),
        (lambda folder: _only_pickles(folder), "expected weights as *.safetensors, found model.pt, a pickle"),
    ],
)
def test_damaged_files(released, damage, sentence):
    damage(released)
    with pytest.raises(AdaMolmoError, match=re.escape(sentence)):
        load_model(released)


def _only_pickles(folder: Path) -> None:
    for path in [*folder.glob("*.safetensors"), folder / INDEX]:
        path.unlink()
    (folder / "model.pt").write_bytes(b"cos\nsystem\n.")


PREPARE = """
import resource, sys, torch
from pathlib import Path
from adamolmo.backend import prepared
from adamolmo.backend.prepared import check_prepared
from adamolmo.errors import AdaMolmoError
from adamolmo.model.checkpoint import prepare_checkpoint

limit = int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    prepare_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]), torch.bfloat16)
except AdaMolmoError as error:
    sys.exit(f"error: {error}")
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


def test_loading_leaves_the_compiler_of_torch_alone(released):
    """torch imports it for some operations on the meta device; that would cost every job 2 s and 70 MB."""
    load = f"""if True:
        import sys
        from pathlib import Path
        from adamolmo.model.checkpoint import load_model
        load_model(Path({str(released)!r}))
        sys.exit("torch._dynamo" in sys.modules)
        """
    assert subprocess.run([sys.executable, "-c", load], check=False).returncode == 0


def prepare_elsewhere(source: Path, output: Path, file_limit_bytes: int = 0) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", PREPARE, str(source), str(output), str(file_limit_bytes)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_memory_while_preparing(tmp_path, tiny_config, tiny_tokenizer_file):
    """It stays far below the model's size, however many blocks there are."""
    config = replace(tiny_config, d_model=512, num_layers=7, num_experts=16, expert_dim=512)
    folder = tmp_path / "medium"
    folder.mkdir()
    model = MolmoE(config)
    for parameter in model.parameters():  # experts are made without values
        torch.nn.init.normal_(parameter, std=0.02)
    write_released_checkpoint(folder, model, shards=2, dtype=torch.float32)
    shutil.copy(tiny_tokenizer_file, folder / "tokenizer.json")
    size_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert size_bytes > 300e6
    result = prepare_elsewhere(folder, tmp_path / "model")
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < size_bytes / 3


def test_disk_full_while_preparing(released, tmp_path):
    """A limit on the size of files stands in for a full disk: writing fails in the middle of the weights."""
    output = tmp_path / "model"
    result = prepare_elsewhere(released, output, file_limit_bytes=20_000)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"error: {output / WEIGHTS}: cannot be written (File too large)")
    assert " GB, and run Snakemake again" in result.stderr
    assert list(output.iterdir()) == []
    assert prepare_elsewhere(released, output).returncode == 0


def test_released_layout_of_a_model(tmp_path, released, tiny_model):
    """What `save_released` writes is what the sharded files hold."""
    save_released(tiny_model, tmp_path / WEIGHTS, torch.float32)
    one = load_file(tmp_path / WEIGHTS)
    several = {name: t for path in released.glob("*.safetensors") for name, t in load_file(path).items()}
    assert one.keys() == several.keys()
    assert all(torch.equal(one[name], several[name]) for name in one)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1e39])
def test_weights_that_are_no_numbers_are_refused(released, tmp_path, odd):
    """The last of them is one in the checkpoint, but not in the study's number format."""
    path = sorted(released.glob("*.safetensors"))[0]
    tensors = {name: tensor.double() for name, tensor in load_file(path).items()}
    name = next(iter(tensors))
    tensors[name].view(-1)[3] = odd
    save_file(tensors, path)
    with pytest.raises(AdaMolmoError, match=r"has NaN or infinite values as torch\.bfloat16; expected numbers"):
        prepare_checkpoint(released, tmp_path / "model", torch.bfloat16)
    assert not (tmp_path / "model" / WEIGHTS).exists()


def test_weights_that_are_integers_are_refused(released, tmp_path):
    change(released, lambda tensors: tensors.update({GATE: tensors[GATE].to(torch.int32)}))
    with pytest.raises(AdaMolmoError, match=r"gate_proj.weight is I32; expected one of BF16, F16, F32, F64"):
        load_model(released)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"embedding_size": 20, "vocab_size": 20}, "wrong shapes lm_head.weight"),
        ({"additional_vocab_size": 2}, "wrong shapes transformer.wte.new_embedding"),
        ({"overlap_margins": [1, 2]}, r"overlap_margins \(1, 2\)"),
    ],
)
def test_sizes_that_do_not_fit_weights_or_images_are_refused(released, tmp_path, keys, sentence):
    path = released / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))
    with pytest.raises(AdaMolmoError, match=sentence):
        prepare_checkpoint(released, tmp_path / "model", torch.float32)


def test_a_vocabulary_larger_than_the_embedding_is_refused(tiny_tokenizer, tiny_config):
    tiny_tokenizer.fitting(tiny_config)
    with pytest.raises(AdaMolmoError, match="has ids up to 28; the model's embedding has 28 rows"):
        tiny_tokenizer.fitting(replace(tiny_config, additional_vocab_size=4))
    with pytest.raises(AdaMolmoError, match="as 0; the model can say ids below 0"):
        tiny_tokenizer.fitting(replace(tiny_config, embedding_size=0, additional_vocab_size=40))


@pytest.mark.parametrize("name", PREPARED_FILES)
def test_a_changed_file_of_a_prepared_model_is_refused(tiny_model_dir, name):
    check_prepared(tiny_model_dir)
    path = tiny_model_dir / name
    whole = bytearray(path.read_bytes())
    whole[-5] ^= 1
    path.write_bytes(whole)
    with pytest.raises(AdaMolmoError, match="are not what the checksum in manifest.json says"):
        check_prepared(tiny_model_dir)


def test_the_jobs_of_one_snakemake_read_a_prepared_model_once(tiny_model_dir, monkeypatch):
    """What changed since is seen by size or time; the next Snakemake reads everything again."""
    monkeypatch.setenv("ADAMOLMO_LAUNCHER", "1-1")
    hashed = []
    monkeypatch.setattr(prepared, "file_checksum", lambda *paths: hashed.append(paths) or file_checksum(*paths))
    for _ in range(3):
        check_prepared(tiny_model_dir)
    assert len(hashed) == 1
    path = tiny_model_dir / WEIGHTS
    path.write_bytes(path.read_bytes())
    check_prepared(tiny_model_dir)
    monkeypatch.setenv("ADAMOLMO_LAUNCHER", "2-2")
    check_prepared(tiny_model_dir)
    assert len(hashed) == 3
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(AdaMolmoError, match="was changed after it was written"):
        check_prepared(tiny_model_dir)
