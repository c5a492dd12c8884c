"""The library's own way, for comparison: a family's processor, and what its model's `forward` takes."""

from pathlib import Path
from typing import Any

from adamolmo.transformers_backend.library import transformers
from adamolmo.transformers_backend.self_check import stock_inputs

__all__ = ["stock_inputs", "stock_processor"]

# What the processors ask of a tokenizer, beside `image_token`.
_TOKENS = {
    "qwen3_vl_moe": {
        "video_token": "<|video_pad|>",
        "vision_start_token": "<|vision_start|>",
        "vision_end_token": "<|vision_end|>",
    },
    "glm4v_moe": {"video_token": "<|video|>"},
    "aria": {},
    "ernie4_5_vl_moe": {
        "image_start_token": "<|IMAGE_START|>",
        "image_end_token": "<|IMAGE_END|>",
        "video_token": "<|VIDEO_PLACEHOLDER|>",
        "video_start_token": "<|VIDEO_START|>",
        "video_end_token": "<|VIDEO_END|>",
    },
    "deepseek_ocr2": {},
}


def stock_processor(backend: Any, directory: Path) -> Any:
    """The family's processor without the one for videos, which needs torchvision."""
    name = transformers.models.auto.processing_auto.PROCESSOR_MAPPING_NAMES[backend.name]
    cls = getattr(transformers, name)
    unchecked = type(name, (cls,), {"check_argument_for_proper_class": lambda self, name, value: type(value)})
    tokens = dict(_TOKENS[backend.name], image_token=backend.texts.image)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(directory, extra_special_tokens=tokens)
    if backend.name == "aria":
        counts = {490: 8, 980: 16}
        return unchecked(backend.pictures.image_processor, tokenizer, size_conversion=counts)
    if backend.name == "deepseek_ocr2":
        return unchecked(backend.pictures.image_processor, tokenizer)
    return unchecked(backend.pictures.image_processor, tokenizer, None)
