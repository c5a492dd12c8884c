"""The prepared model."""

from typing import ClassVar

from pydantic import Field

from adamolmo.files.documents import Document
from adamolmo.files.schema import Plain, Tensors


class Manifest(Document):
    """What the verified model is; written last, so that it stands for the files beside it."""

    path: ClassVar[str] = "results/model/manifest.json"

    checksum: str = Field(description="sha256 of the stacked weights and the configuration")
    num_parameters: int = Field(gt=0, description="parameters")
    num_blocks: int = Field(gt=0, description="transformer blocks")
    dtype: str = Field(description="number format of the stored weights")


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
