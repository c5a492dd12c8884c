"""The parts that the embedded model is put together from, and the log of its training."""

from pydantic import Field

from adamolmo.files.documents import Part
from adamolmo.files.schema import Tensors


class TrainingLine(Part):
    """A line of the training's log: what a few steps came to."""

    phase: str = Field(description="vision, text or joint")
    step: int = Field(description="steps of the phase that are done")
    loss: float = Field(description="mean over the steps since the line before")
    accuracy: dict[str, float] = Field(description="share that was right, by kind, or by dataset and tier")
    seconds: float = Field(description="since the phase began, without the time between a kill and the next start")


class TrainedInfo(Part):
    """What a part was made by, and how it went."""

    made_by: dict[str, str] = Field(description="phase, seed, recipe, sizes, and what else its weights depend on")
    step: int = Field(description="steps that are done")
    log: tuple[TrainingLine, ...] = Field(description="the lines so far: phase, step, loss, accuracy, seconds")


PART = Tensors(
    "results/embedded/{phase}.safetensors",
    "One part of the embedded model (phase: vision or text), trained alone.",
    {"the parameters of the part": "float32, shapes follow from the embedded architecture"},
    TrainedInfo,
)
