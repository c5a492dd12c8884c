"""The processes, of one thread each, that share the steps of a training.

A step's batch is drawn in shards. Which process computes which shard does not matter: with up to two shards the sum of
their gradients is the same to the bit, however many processes there are.
"""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.optim import Optimizer

from adamolmo.errors import AdaMolmoError

_LONGEST_STEP = timedelta(days=7)  # the other process may be stopped for hours, for a measurement on the same machine


@dataclass(frozen=True)
class Workers:
    """This process, number `rank` of `count`."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def own(self, shards: int) -> range:
        """The shards that this process computes."""
        return range(self.rank, shards, self.count)

    def sum_gradients(self, optimisers: Iterable[Optimizer]) -> None:
        """Adds up the gradients of all processes, in every process. Raises AdaMolmoError when one of them has ended."""
        if self.count == 1:
            return
        parameters = [p for optimiser in optimisers for group in optimiser.param_groups for p in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        try:
            dist.all_reduce(flat)
        except RuntimeError as error:
            raise AdaMolmoError(
                "another process of the training ended; run Snakemake again, which continues from the checkpoint."
            ) from error
        for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))


ALONE = Workers()


def run_in(count: int, work: Callable[..., None], *arguments) -> None:
    """`work(workers, *arguments)` in this process and in `count - 1` others, which do not outlive it."""
    if count == 1:
        work(ALONE, *arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting_place = f"file://{folder}/workers"
        processes = [
            torch.multiprocessing.get_context("spawn").Process(
                target=_join, args=(meeting_place, Workers(rank, count), work, *arguments), daemon=True
            )
            for rank in range(1, count)
        ]
        for process in processes:
            process.start()
        _join(meeting_place, Workers(0, count), work, *arguments)
        for process in processes:
            process.join()


def _join(meeting_place: str, workers: Workers, work: Callable[..., None], *arguments) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=meeting_place, rank=workers.rank, world_size=workers.count, timeout=_LONGEST_STEP
    )
    try:
        work(workers, *arguments)
    finally:
        dist.destroy_process_group()
