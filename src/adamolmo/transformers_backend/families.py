"""The families of models that are supported: all that is particular about each, in a few lines.

A row is right when the contract suite says so: `tests/backends/`. This file needs neither torch nor transformers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adamolmo.errors import AdaMolmoError, quoted

_ANY_SIZE = {"shortest_edge": 1, "longest_edge": 10**9}


@dataclass(frozen=True)
class ImageSize:
    """What an image becomes at a tier.

    Attributes:
        units: what vision's work is counted in: image tokens, or crops.
        tokens: in the prompt.
    """

    units: int
    tokens: int


# A probe: height and width of an image in px, and the arguments of the image processor's call.
Probe = tuple[int, int, Mapping[str, Any]]


@dataclass(frozen=True)
class Family:
    """Attributes:
    model_class, image_processor: names in transformers; of image processors the one that needs no torchvision.
    prompt: a user's turn with {image} and {question}, where the checkpoint has no chat template.
    image_inputs: what the model's `get_image_features` takes of the image processor's output.
    tier_arguments: arguments of the image processor's call that a vision tier may set.
    image_size: of (configuration, image processor, arguments of its call, height in px, width in px).
    grid_positions: whether image tokens have positions in a grid (M-RoPE), for which the model marks them.
    vision_tokens: keys of the configuration whose tokens go to experts of their own, where layers have such.
    least_prefix: layers of the model's configuration that the fixed prefix has to contain.
    vision_probes: images whose work is measured, by rising units.
    attends_to_all: whether vision's attention sees the whole image, so that work has a part with units squared;
        otherwise it is that of crops, linear between the probes.
    """

    model_type: str
    model_class: str
    image_processor: str
    prompt: str
    image_inputs: tuple[str, ...]
    tier_arguments: frozenset[str]
    image_size: Callable[[Any, Any, Mapping[str, Any], int, int], ImageSize]
    vision_probes: Callable[[Any], list[Probe]]
    attends_to_all: bool
    grid_positions: bool = False
    vision_tokens: tuple[str, ...] = ()
    least_prefix: Callable[[Any], int] = lambda config: 1


# Families that scale the whole image into a range of pixels, and make a token of 2 x 2 patches.


def _scaled(config: Any, image_processor: Any, arguments: Mapping[str, Any], height: int, width: int) -> ImageSize:
    size = arguments.get("size", image_processor.size)
    limits = {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}  # what Qwen and ERNIE read
    patches = image_processor.get_number_of_image_patches(height, width, {"size": dict(size), **limits})
    tokens = patches // image_processor.merge_size**2
    return ImageSize(tokens, tokens)


def _scaled_probes(image_processor: Any) -> list[Probe]:
    token_px = image_processor.patch_size * image_processor.merge_size
    return [(side * token_px, side * token_px, {"size": _ANY_SIZE}) for side in (2, 4)]


_SCALED = {
    "image_inputs": ("pixel_values", "image_grid_thw"),
    "tier_arguments": frozenset({"size"}),
    "image_size": _scaled,
    "vision_probes": _scaled_probes,
    "attends_to_all": True,
    "grid_positions": True,
}


def _deepstack_layers(config: Any) -> int:
    """DeepStack (arXiv 2406.04334) adds features of the image after each of the first layers."""
    return len(config.vision_config.deepstack_visual_indexes)


# Aria: the image in a square, or cut into such squares.


def _aria_size(config: Any, image_processor: Any, arguments: Mapping[str, Any], height: int, width: int) -> ImageSize:
    side = arguments.get("max_image_size", image_processor.max_image_size)
    crops = image_processor.get_number_of_image_patches(height, width, dict(arguments))
    tokens = {int(patches): tokens for patches, tokens in config.projector_patch_to_query_dict.items()}
    return ImageSize(crops * (side // 490) ** 2, crops * tokens[(side // config.vision_config.patch_size) ** 2])


# DeepSeek-OCR-2: the whole image in a square, which is smaller where there are no tiles, and tiles of large images.


def _deepseek_size(
    config: Any, image_processor: Any, arguments: Mapping[str, Any], height: int, width: int
) -> ImageSize:
    names = "crop_to_patches", "min_patches", "max_patches"
    settings = {name: arguments.get(name, getattr(image_processor, name)) for name in names}
    tile_px, whole_px, tiles = image_processor.tile_size, image_processor.size["height"], 0
    if not settings["crop_to_patches"]:
        whole_px = tile_px
    elif max(height, width) > tile_px:
        # The method takes the whole image's square for a tile unless it is told, and counts the whole image as well.
        square = {"height": tile_px, "width": tile_px}
        counted = image_processor.get_number_of_image_patches(height, width, {**settings, "patch_size": square})
        tiles = max(counted - 1, 1)
    token_px = 4 * config.vision_config.sam_config.patch_size
    whole, tile = (-(-side // token_px) for side in (whole_px, tile_px))
    return ImageSize((1 if whole_px == tile_px else 2) + tiles, whole**2 + tiles * tile**2 + 1)


def _deepseek_probes(image_processor: Any) -> list[Probe]:
    wide = 2 * image_processor.tile_size
    two_tiles = {"crop_to_patches": True, "min_patches": 2, "max_patches": 2}
    return [(64, 64, {"crop_to_patches": False}), (64, 64, {"crop_to_patches": True}), (64, wide, two_tiles)]


FAMILIES = {
    family.model_type: family
    for family in (
        Family(
            "qwen3_vl_moe",
            "Qwen3VLMoeForConditionalGeneration",
            "Qwen2VLImageProcessorPil",
            "<|im_start|>user\n<|vision_start|>{image}<|vision_end|>{question}<|im_end|>\n<|im_start|>assistant\n",
            least_prefix=_deepstack_layers,
            **_SCALED,
        ),
        Family(
            "glm4v_moe",
            "Glm4vMoeForConditionalGeneration",
            "Glm4vImageProcessorPil",  # counts pixels twice: `size` is in px of two equal frames
            "[gMASK]<sop><|user|>\n<|begin_of_image|>{image}<|end_of_image|>{question}/nothink<|assistant|>\n"
            "<think></think>\n",
            **_SCALED,
        ),
        Family(
            "ernie4_5_vl_moe",
            "Ernie4_5_VLMoeForConditionalGeneration",
            "Ernie4_5_VLMoeImageProcessorPil",
            "<|begin_of_sentence|>User: Picture 1:<|IMAGE_START|>{image}<|IMAGE_END|>{question}\nAssistant: ",
            vision_tokens=("image_token_id", "image_start_token_id", "image_end_token_id"),
            **_SCALED,
        ),
        Family(
            "aria",
            "AriaForConditionalGeneration",
            "AriaImageProcessorPil",
            "<|im_start|>user\n<fim_prefix>{image}<fim_suffix>{question}<|im_end|>\n<|im_start|>assistant\n",
            image_inputs=("pixel_values", "pixel_mask"),
            tier_arguments=frozenset({"max_image_size", "split_image", "split_resolutions"}),
            image_size=_aria_size,
            vision_probes=lambda image_processor: [(490, 490, {"max_image_size": 490, "split_image": False})],
            attends_to_all=False,
        ),
        Family(
            "deepseek_ocr2",
            "DeepseekOcr2ForConditionalGeneration",
            "DeepseekOcr2ImageProcessorPil",
            "<｜begin▁of▁sentence｜>{image}\n{question}",
            image_inputs=("pixel_values", "pixel_values_local", "num_local_patches"),
            tier_arguments=frozenset({"crop_to_patches", "min_patches", "max_patches"}),
            image_size=_deepseek_size,
            vision_probes=_deepseek_probes,
            attends_to_all=False,
        ),
    )
}


def family_of(model_type: str, source: object) -> Family:
    """Raises AdaMolmoError for a model that is not supported."""
    if model_type not in FAMILIES:
        raise AdaMolmoError(
            f"{source}: model_type is {quoted(model_type)}; expected one of {', '.join(sorted(FAMILIES))}."
        )
    return FAMILIES[model_type]
