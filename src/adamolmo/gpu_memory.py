"""Out of GPU memory, said in one sentence: what was running, how much it takes and what the device had."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adamolmo.errors import AdaMolmoError


@contextmanager
def explain_out_of_memory(work: str, needed_bytes: Callable[[], int]) -> Iterator[None]:
    """Turns torch's error into an AdaMolmoError.

    Args:
        work: what runs, for example "static-high-k8-b16".
        needed_bytes: an estimate of its peak; asked for only when memory runs out.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        # "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79 GiB of which ... free. ..."
        details = ". ".join(str(error).split(". ")[1:3])
        needed_gib = needed_bytes() / 2**30
        raise AdaMolmoError(
            f"{work}: out of GPU memory; needs about {needed_gib:.1f} GiB. {details}. "
            "Free the GPU of other programs, or take fewer crops or smaller batches."
        ) from error
