"""Columns and metadata that several tables have."""

from adamolmo.files.schema import Column

IDS = {
    "sample_id": Column("text", "the question's id, unique in its dataset"),
    "image_id": Column("text", "the image's id; several questions can share an image"),
}

KNOBS = {
    "tier": Column("text", "vision tier"),
    "top_k": Column("int8", "experts per token after the fixed prefix", "positive"),
    "num_active_blocks": Column("int8", "transformer blocks that ran", "positive"),
}

SCORED = {
    "prediction": Column("text", "the answer"),
    "accuracy": Column("float32", "the dataset's score of the answer", "share"),
}

STAGES = {
    "vision_ms": Column("float32", "vision tower and projector", "not negative"),
    "prefill_ms": Column(
        "float32", "prompt and image tokens through the decoder, first token included", "not negative"
    ),
    "decode_ms": Column("float32", "the further tokens", "not negative"),
}

COSTS = {
    "num_crops": Column("int32", "crops, the overview included", "positive"),
    "input_tokens": Column("int32", "tokens at prefill", "positive"),
    "output_tokens": Column("int32", "length of the answer in tokens, without the end token", "not negative"),
    "flops": Column("float64", "floating-point operations of the request", "positive"),
    "memory_bytes": Column("int64", "estimated or measured peak memory", "positive"),
}

PROVENANCE = {
    "device": "the device that was timed",
    "clock": "'measured' or 'modelled'",
    "versions": "of adamolmo, Python, PyTorch and NumPy",
    "model_checksum": "of the model, as in its manifest",
    "data_checksum": "sha256 of the samples' file",
    "seed": "the study's seed",
}


def interval(name: str, meaning: str, values: str = "", optional: bool = False) -> dict[str, Column]:
    return {
        name: Column("float64", meaning, values, optional),
        f"{name}_low": Column("float64", "lower end of its 95 % interval", values, optional),
        f"{name}_high": Column("float64", "upper end of its 95 % interval", values, optional),
    }
