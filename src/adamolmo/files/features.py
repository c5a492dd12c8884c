"""What the learned controllers are trained on."""

from pydantic import Field

from adamolmo.files.documents import Part
from adamolmo.files.schema import Tensors


class FeaturesInfo(Part):
    """What a features file belongs to."""

    dataset: str = Field(description="dataset")
    model_checksum: str = Field(description="of the model, as in its manifest")
    fixed_prefix_layers: int = Field(description="blocks of the fixed prefix")
    kv_width: int = Field(description="width of a token's keys, and of its values, in one block")
    sample_ids: tuple[str, ...] = Field(description="the prompts' questions, all tiers of a question one after another")
    tiers: tuple[str, ...] = Field(description="the tiers of each question, in this order")


FEATURES = Tensors(
    "results/features/{dataset}.safetensors",
    "What the learned controllers are trained on, of the questions of the profile split.",
    {
        "entries": "keys and values that each prompt leaves in the fixed prefix, one prompt after another: "
        "[layers, 2, tokens, kv_width] each, flattened; float16, or the model's own dtype",
        "lengths": "tokens of each prompt: int64 [questions * tiers]",
        "positions": "where the token behind each prompt stands: int64 [questions * tiers]",
        "question": "pooled embedding: float32 [questions, d_model]",
        "overview": "summary of the overview crop: float32 [questions, overview_dim]",
        "thumbnail": "uint8 [questions, 3, pixels, pixels]",
    },
    FeaturesInfo,
)
