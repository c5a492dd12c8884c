"""The prepared model."""

from typing import Annotated, ClassVar

from pydantic import Field

from adamolmo.files.documents import Document, Part
from adamolmo.files.schema import Plain, Tensors

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=100)]
WORK_FILE = "work.json"


class Check(Part):
    """Something that the model was found to do right, on one image."""

    name: str = Field(description="what was compared")
    difference: float = Field(ge=0, description="largest difference of the logits found, relative to the largest logit")
    allowed: float = Field(ge=0, description="largest difference that rounding explains")


class Manifest(Document):
    """What the verified model is; written last, so that it stands for the files beside it."""

    path: ClassVar[str] = "results/model/manifest.json"

    checksum: str = Field(description="sha256 of the stacked weights and the configuration")
    num_parameters: int = Field(gt=0, description="parameters")
    num_blocks: int = Field(gt=0, description="transformer blocks")
    dtype: str = Field(description="number format of the stored weights")
    model_type: str = Field(description="the architecture")
    files: tuple[FileName, ...] = Field(description="the files that the checksum is of", min_length=1, max_length=100)
    checks: tuple[Check, ...] = Field(description="what the model was found to do right before anybody used it")


class Work(Document):
    """What vision and a layer of a model of transformers do, measured once: its analytic costs are made of it.
    MolmoE's follow from its configuration."""

    path: ClassVar[str] = f"results/model/{WORK_FILE}"

    vision_units: tuple[int, ...] = Field(description="image tokens, or crops, of the images that were tried")
    vision_flops: tuple[float, ...] = Field(description="of each of them, floating point operations")
    vision_launches: int = Field(description="kernels of the largest of them")
    layer_launches: int = Field(description="kernels of a decoder layer for one token")


WEIGHTS = Tensors(
    "results/model/model.safetensors",
    "The weights of the model.",
    {
        "{name}": "as in the released checkpoint, save that all experts of a block are one tensor "
        "[experts, ...]; in the manifest's dtype",
    },
)
MODEL_CONFIG = Plain("results/model/config.json", "The architecture, as the released checkpoint has it (JSON).")
TOKENIZER = Plain("results/model/tokenizer.json", "The tokenizer, as the released checkpoint has it (JSON).")
