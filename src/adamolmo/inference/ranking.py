"""Reads which blocks stay active at each count, as the importance scores rank them."""

import json
from pathlib import Path

from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import BlockRanking


def load_ranking(path: Path, model_checksum: str, num_blocks: int) -> BlockRanking:
    """Which blocks stay active at each count, from the file that holds the result of `importance.merge`.

    Raises AdaMolmoError when the file is unusable or its scores were made with another model.
    """
    try:
        content = json.loads(Path(path).read_text())
        found = content["model_checksum"], content["num_blocks"]
        removal_order = tuple(int(block) for block in content["removal_order"])
        removed_sets = tuple(tuple(map(int, removed)) for removed in content.get("removed_sets") or ())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdaMolmoError(f"{path}: cannot be read as importance scores ({error}).") from error
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
