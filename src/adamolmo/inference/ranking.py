"""Reads which blocks stay active at each count, as the importance scores rank them."""

from pathlib import Path

from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import read_json
from adamolmo.files.importance import Importance
from adamolmo.knobs import BlockRanking


def load_ranking(path: Path, model_checksum: str, num_blocks: int) -> BlockRanking:
    """Which blocks stay active at each count, from the file of the importance scores.

    Raises AdaMolmoError when the file is unusable or its scores were made with another model.
    """
    scores = read_json(path, Importance)
    removal_order, removed_sets = scores.removal_order, scores.removed_sets or ()
    found = scores.model_checksum, scores.num_blocks
    if found != (model_checksum, num_blocks):
        raise AdaMolmoError(
            f"{path}: the importance scores belong to another model (checksum {found[0]}, {found[1]} blocks); "
            f"expected checksum {model_checksum} and {num_blocks} blocks."
        )
    if len(set(removal_order)) != len(removal_order) or not set(removal_order) <= set(range(num_blocks)):
        raise AdaMolmoError(f"{path}: removal_order is {list(removal_order)}; expected distinct blocks of the model.")
    for size, removed in enumerate(removed_sets, start=1):
        if len(set(removed)) != size or not set(removed) <= set(removal_order):
            raise AdaMolmoError(
                f"{path}: removed_sets[{size - 1}] is {list(removed)}; expected {size} different removable blocks."
            )
    return BlockRanking(num_blocks, removal_order, removed_sets)
