"""The parts that the embedded model is put together from."""

from adamolmo.files.schema import Tensors

PART = Tensors(
    "results/embedded/{phase}.safetensors",
    "One part of the embedded model (phase: vision or text), trained alone.",
    {"the parameters of the part": "float32, shapes follow from the embedded architecture"},
)
