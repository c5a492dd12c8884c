"""Out of GPU memory, said in one sentence: what was running, how much it takes and what the device had."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from adamolmo.errors import AdaMolmoError


@contextmanager
def explain_out_of_memory(work: Callable[[], tuple[str, int]]) -> Iterator[None]:
    """Turns torch's error into an AdaMolmoError.

    Args:
        work: asked only when memory runs out: what was running, for example "static-high-k8-b16", and an estimate of
            the bytes that it takes.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        # "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB of which ... free. ..."
        details = ". ".join(str(error).split(". ")[1:3])
        name, needed_bytes = work()
        raise AdaMolmoError(
            f"{name}: out of GPU memory; needs about {needed_bytes / 2**30:.1f} GiB. {details}. "
            "Free the GPU of other programs, or take fewer crops or smaller batches."
        ) from error
