"""Where the tensors of a checkpoint belong in this model.

Three layouts exist; they differ in how the experts are cut and in some names:

* released (allenai/MolmoE-1B-0924): one matrix per expert, `model.transformer.blocks.3.mlp.experts.7.gate_proj.weight`;
* olmo (AI2's native format): a block's experts below each other, `transformer.blocks.3.ffn.experts.mlp.w1`;
* stacked (this project): `transformer.blocks.3.mlp.experts.gate_up` and `.down`, as in `moe.Experts`.

A canonical name is the name without `model.`, with the head as `lm_head` and the parts of a block as in the released
layout. The released head has two spellings; a native checkpoint has the second.
"""

import re
from collections.abc import Callable, Iterable

from torch import Tensor

Shape = tuple[int, ...]

_BLOCK = r"(transformer\.blocks\.\d+)"
_SPELLINGS = [
    (re.compile(pattern), canonical)
    for pattern, canonical in (
        (r"^model\.", ""),
        (r"^transformer\.ff_out\.", "lm_head."),
        (rf"^{_BLOCK}\.(att_proj|attn_out|attn_norm|q_norm|k_norm)\.", r"\1.attn.\2."),
        (rf"^{_BLOCK}\.ff_norm\.", r"\1.mlp.ff_norm."),
        (rf"^{_BLOCK}\.ffn\.router\.layer\.", r"\1.mlp.gate."),
        (rf"^{_BLOCK}\.ffn\.experts\.mlp\.", r"\1.mlp.experts."),
    )
]
_ONE_EXPERT = re.compile(rf"^{_BLOCK}\.mlp\.experts\.\d+\.")
_OLMO_EXPERTS = re.compile(rf"^{_BLOCK}\.mlp\.experts\.(w1|v1|w2)$")


def canonical_name(name: str) -> str:
    for pattern, canonical in _SPELLINGS:
        name = pattern.sub(canonical, name)
    return name


def layout_of(names: Iterable[str]) -> str:
    """The layout that some of the canonical names belong to."""
    for name in names:
        if _ONE_EXPERT.match(name):
            return "released"
        if _OLMO_EXPERTS.match(name):
            return "olmo"
    return "stacked"


def is_stack(name: str) -> bool:
    """Whether a tensor of the model holds all experts of a block."""
    return name.endswith((".mlp.experts.gate_up", ".mlp.experts.down"))


def parts(name: str, shape: Shape, layout: str) -> dict[str, Shape]:
    """The stored tensors, by canonical name, that the model's tensor `name` is made of, and their shapes."""
    if layout == "stacked" or not is_stack(name):
        return {name: shape}
    prefix, _, kind = name.rpartition(".")
    experts, rows, columns = shape
    if layout == "olmo":
        stored = {"w1": columns // 2, "v1": columns // 2} if kind == "gate_up" else {"w2": rows}
        width = rows if kind == "gate_up" else columns
        return {f"{prefix}.{part}": (experts * height, width) for part, height in stored.items()}
    one = {"gate_proj": (columns // 2, rows), "up_proj": (columns // 2, rows)}
    if kind == "down":
        one = {"down_proj": (columns, rows)}
    return {f"{prefix}.{expert}.{part}.weight": size for expert in range(experts) for part, size in one.items()}


def fill_stack(stack: Tensor, name: str, layout: str, read: Callable[[str], Tensor]) -> None:
    """Writes the stored tensors that `read` gives into `stack`, the model's tensor `name`, converting their dtype."""
    prefix, _, kind = name.rpartition(".")
    targets = dict(zip(("gate", "up"), stack.chunk(2, dim=2), strict=True)) if kind == "gate_up" else {"down": stack}
    for projection, target in targets.items():
        if layout == "released":
            for expert, matrix in enumerate(target):
                matrix.copy_(read(f"{prefix}.{expert}.{projection}_proj.weight").T)
        elif projection == "down":
            target.copy_(read(f"{prefix}.w2").view(target.shape))
        else:
            stored = read(f"{prefix}.{'w1' if projection == 'gate' else 'v1'}")
            target.copy_(stored.view(len(target), target.shape[2], target.shape[1]).transpose(1, 2))


def unstack_experts(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's tensors with the names and the cut of the released layout."""
    released = {}
    for name, tensor in tensors.items():
        if not is_stack(name):
            released[name if name == "lm_head.weight" else f"model.{name}"] = tensor.contiguous()
            continue
        prefix, _, kind = name.rpartition(".")
        halves = {"gate": 0, "up": 1} if kind == "gate_up" else {"down": 0}
        for projection, half in halves.items():
            for expert, matrix in enumerate(tensor.chunk(len(halves), dim=2)[half]):
                released[f"model.{prefix}.{expert}.{projection}_proj.weight"] = matrix.T.contiguous()
    return released
