"""Which study split an image belongs to, with all its questions, where several read the same split of a dataset."""

import hashlib
from collections.abc import Sequence

from adamolmo.config.data import DatasetSettings

# Shares of the images.
SHARES = {"importance": 1, "profile": 6, "evaluation": 3}


def sharing_with(settings: DatasetSettings, split: str) -> list[str]:
    """The study splits, this one included, that read the same split of the dataset."""
    return [name for name in SHARES if getattr(settings.splits, name) == getattr(settings.splits, split)]


def owner(image_id: str, sharing: Sequence[str], seed: int) -> str:
    """The one study split of `sharing` in whose share an image is."""
    point = seeded_hash(seed, image_id) % sum(SHARES[split] for split in sharing)
    for split in sharing:
        if point < SHARES[split]:
            return split
        point -= SHARES[split]
    raise AssertionError("the point lies below the sum of the shares")


def seeded_hash(*parts: object) -> int:
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:8], "big")


def explained(sharing: Sequence[str]) -> str:
    """How a split of the dataset is divided, for people; empty if one study split has it for itself."""
    if len(sharing) == 1:
        return ""
    shares = " : ".join(str(SHARES[split]) for split in sharing)
    return (
        f" ({' : '.join(sharing)} share the images {shares}, each image with all its questions; "
        "a share that does not suffice is filled up with what the others leave)"
    )
