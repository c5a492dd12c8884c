"""Every phase of the training in miniature: killed and resumed it ends as if nothing had been, and foreign files are
refused."""

import json
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from adamolmo.embedded import checkpoints, training
from adamolmo.embedded.recipe import ARCHITECTURE, JOINT_SHARDS, Recipe
from adamolmo.embedded.training import train_joint, train_text, train_vision
from adamolmo.embedded.vocabulary import save_tokenizer
from adamolmo.errors import AdaMolmoError
from adamolmo.files import tensors as tensor_files
from adamolmo.model.loading import load_model
from adamolmo.model.tokenizer import Tokenizer

SHORT = Recipe().shortened(1)
# Two steps of a phase, a model of four blocks.
RECIPE = replace(
    SHORT,
    architecture={**ARCHITECTURE, "n_layers": 4},
    text=replace(SHORT.text, steps=2),
    joint=replace(SHORT.joint, stages=SHORT.joint.stages[1:3]),
)
PHASES = ("vision", "text", "joint")


def train(phase: str, folder: Path, recipe: Recipe = RECIPE, processes: int = 1) -> dict[str, torch.Tensor]:
    """Trains a phase in a folder that has what it needs; the weights that it writes."""
    vision, text, checkpoint = folder / "vision.safetensors", folder / "text.safetensors", folder / "checkpoint"
    if phase == "vision":
        train_vision(recipe, folder / "easy_vqa", vision)
    elif phase == "text":
        train_text(recipe, Tokenizer.load(folder), text)
    else:
        train_joint(recipe, folder / "easy_vqa", folder, vision, text, checkpoint, processes)
    return load_file({"vision": vision, "text": text, "joint": checkpoint / "model.safetensors"}[phase])


def log_of(folder: Path) -> list[dict]:
    """The log of all phases, without the times."""
    lines = [json.loads(line) for line in (folder / "checkpoint/training.jsonl").read_text().splitlines()]
    assert all(line.pop("seconds") >= 0 for line in lines)  # rounded to a tenth
    return lines


@pytest.fixture(autouse=True, scope="module")
def one_thread_and_a_checkpoint_after_every_step():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "_STEPS_PER_LINE", 1)
        patched.setattr(checkpoints, "_SECONDS_BETWEEN", 0)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, easy_vqa) -> tuple[Path, dict[str, dict[str, torch.Tensor]]]:
    """A folder in which all phases were trained in one run each, and their weights."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "easy_vqa").symlink_to(easy_vqa)
    save_tokenizer(folder)
    return folder, {phase: train(phase, folder) for phase in PHASES}


@pytest.fixture
def begun(uninterrupted, tmp_path, easy_vqa) -> Path:
    """A folder in which every phase could begin: the parts are there."""
    (tmp_path / "easy_vqa").symlink_to(easy_vqa)
    for name in ("tokenizer.json", "vision.safetensors", "text.safetensors"):
        (tmp_path / name).write_bytes((uninterrupted[0] / name).read_bytes())
    return tmp_path


def killed_at(call: int, module, function: str, monkeypatch, *work) -> None:
    """Trains in another process, which ends without warning when it calls this function for that time."""
    calls, original = iter(range(1, call + 1)), getattr(module, function)

    def kill_or_call(*arguments, **keywords):
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr(module, function, kill_or_call)
        process = multiprocessing.get_context("fork").Process(target=train, args=work)
        process.start()
        process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_that_was_killed_ends_with_equal_weights_and_log(phase, uninterrupted, begun, monkeypatch, capfd):
    killed_at(2, training, "take_step", monkeypatch, phase, begun)
    assert (begun / f"{phase}.checkpoint.safetensors").is_file()
    capfd.readouterr()
    weights = train(phase, begun)
    assert f"{phase}, steps: 2/2" in capfd.readouterr().err
    folder, expected = uninterrupted[0], uninterrupted[1][phase]
    assert weights.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights.items())
    assert not list(begun.glob("*.checkpoint.safetensors"))
    if phase == "joint":
        log = log_of(begun)
        assert [(line["phase"], line["step"]) for line in log] == [(part, step) for part in PHASES for step in (1, 2)]
        assert log == log_of(folder)
        assert (begun / "checkpoint/training.png").read_bytes() != b""


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(uninterrupted, begun, monkeypatch):
    killed_at(2, tensor_files, "save_file", monkeypatch, "vision", begun)
    weights = train("vision", begun)
    assert all(torch.equal(tensor, uninterrupted[1]["vision"][name]) for name, tensor in weights.items())


def test_two_processes_give_the_weights_of_one(uninterrupted, begun):
    weights = train("joint", begun, processes=JOINT_SHARDS)
    assert all(torch.equal(tensor, uninterrupted[1]["joint"][name]) for name, tensor in weights.items())


def test_the_joint_phase_changes_all_but_tower_and_routers(uninterrupted):
    folder, weights = uninterrupted
    model = load_model(folder / "checkpoint").state_dict()
    before = {**weights["text"], **{f"vision_backbone.{name}": tensor for name, tensor in weights["vision"].items()}}
    kept = {name for name, tensor in before.items() if torch.equal(tensor.half(), model[name].half())}
    flattened = {name for name in before if name.endswith("mlp.gate.weight")}
    assert {name for name in before if "vision" in name} - kept == {"vision_backbone.image_projector.w2.weight"}
    assert not any(name.endswith(("attn_out.weight", "experts.down", "wte.embedding")) for name in kept)
    assert all(torch.equal((RECIPE.joint.router_scale * before[name]).half(), model[name].half()) for name in flattened)
    assert len(flattened) == 4


def test_a_checkpoint_of_another_seed_is_refused(begun, monkeypatch):
    killed_at(2, training, "take_step", monkeypatch, "vision", begun)
    with pytest.raises(AdaMolmoError, match=r"vision.checkpoint.*seed is 0, expected 1\); delete it"):
        train("vision", begun, replace(RECIPE, seed=1))


def test_a_part_of_another_recipe_is_refused(begun):
    with pytest.raises(AdaMolmoError, match=r"vision.safetensors.*vision.crops is 8, expected 9\); delete it"):
        train("joint", begun, replace(RECIPE, vision=replace(RECIPE.vision, crops=9)))


def test_a_damaged_checkpoint_is_refused(begun, monkeypatch):
    killed_at(2, training, "take_step", monkeypatch, "vision", begun)
    path = begun / "vision.checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 255
    path.write_bytes(content)
    with pytest.raises(AdaMolmoError, match=r"vision.checkpoint.*not what its checksum says.*delete the file"):
        train("vision", begun)


def test_a_loss_that_is_no_number_ends_the_training(begun, monkeypatch):
    monkeypatch.setattr(training, "cell_loss", lambda logits, _: (logits.sum() * float("nan"), {}))
    with pytest.raises(AdaMolmoError, match="vision, step 0: the loss is nan"):
        train("vision", begun)
