"""What a model's vision and layers do, measured once on the model itself.

Nothing but the model knows how its vision works: it is run on a few small images, and their FLOPs are counted.
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from adamolmo.files.documents import read_json
from adamolmo.files.model import WORK_FILE, Work
from adamolmo.transformers_backend.decoder import Decoder
from adamolmo.transformers_backend.processing import Pictures, image_to


def load_work(directory: Path, decoder: Decoder, pictures: Pictures) -> Work:
    """As the preparation of the model stored it beside it, or measured now."""
    path = directory / WORK_FILE
    return read_json(path, Work) if path.is_file() else measure_work(decoder, pictures)


@torch.inference_mode()
def measure_work(decoder: Decoder, pictures: Pictures) -> Work:
    family = decoder.family
    units, flops, launches = [], [], []
    for height, width, arguments in family.vision_probes(pictures.image_processor):
        image = pictures.read(Image.new("RGB", (width, height)), arguments)
        image = image_to(image, decoder.device, decoder.model.dtype)
        with _Launches() as counted, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            decoder.see(image)
        units.append(pictures.size_with(arguments, height, width).units)
        flops.append(counter.get_total_flops())
        launches.append(counted.launches)
    token = decoder.layers.head.weight.new_zeros(1, decoder.layers.head.in_features)
    position = torch.zeros(1, dtype=torch.long, device=decoder.device)
    with _Launches() as counted:
        decoder.run_token(token, position, decoder.new_cache(), blocks=range(decoder.layers.num_layers))
    return Work(
        vision_units=tuple(units),
        vision_flops=tuple(map(float, flops)),
        vision_launches=max(launches),
        layer_launches=round(counted.launches / decoder.layers.num_layers),
    )


class _Launches(TorchDispatchMode):
    """Counts operations that do something: views start no kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204 (torch's signature)
        self.launches += not func.is_view
        return func(*args, **kwargs or {})
