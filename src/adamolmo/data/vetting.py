"""What holds between the samples of a dataset: ids of their own, and pictures that no other split has.

Pictures are compared by their pixels, so that a copy in another format or with other metadata is found as well.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from adamolmo.data.images import read_with_transparency
from adamolmo.data.samples import Sample
from adamolmo.errors import AdaMolmoError
from adamolmo.progress import note


class Vetting:
    """Passes the samples of one split on that may be used, and says in a line what is worth knowing of them.

    Args:
        what: names the dataset and the split.
        earlier: the samples of those splits that were drawn before this one, by name.
        max_pixels: larger pictures are not decoded; such and damaged ones are compared by their bytes.
    """

    def __init__(self, what: str, earlier: Mapping[str, Sequence[Sample]], max_pixels: int):
        self._what = what
        self._max_pixels = max_pixels
        self._checksums: dict[bytes, str] = {}  # of pixels, by that of the file
        self._taken = {self._checksum(sample.image): split for split, samples in earlier.items() for sample in samples}
        self._pictures: dict[str, str] = {}  # checksum by image id
        self._sample_ids: set[str] = set()
        self._transparent: set[str] = set()
        self._left_out: Counter[str] = Counter()

    def vet(self, samples: Iterable[dict]) -> Iterator[dict]:
        """The samples whose picture is in no earlier split.

        Raises AdaMolmoError: two samples have one id, or two pictures have.
        """
        for sample in samples:
            checksum = self._checksum(sample["image"])
            if checksum in self._taken:
                self._left_out[self._taken[checksum]] += 1
                continue
            self._check_ids(sample, checksum)
            yield sample

    def _check_ids(self, sample: dict, checksum: str) -> None:
        sample_id, image_id = sample["sample_id"], sample["image_id"]
        if sample_id in self._sample_ids:
            raise AdaMolmoError(
                f"{self._what}: two questions have the id '{sample_id}'; "
                "expected each once, or columns.question_id: null."
            )
        if self._pictures.setdefault(image_id, checksum) != checksum:
            raise AdaMolmoError(
                f"{self._what}: two different pictures have the id '{image_id}'; "
                "expected one each, or columns.image_id: null."
            )
        self._sample_ids.add(sample_id)

    def _checksum(self, file: bytes) -> str:
        key = hashlib.sha256(file).digest()
        if key not in self._checksums:
            self._checksums[key] = self._picture_checksum(file) or key.hex()
        return self._checksums[key]

    def _picture_checksum(self, file: bytes) -> str | None:
        """Of the pixels; None for a picture that cannot be read."""
        try:
            picture, transparent = read_with_transparency(file, self._max_pixels)
        except AdaMolmoError:
            return None
        if transparent:
            self._transparent.add(hashlib.sha256(file).hexdigest())
        return hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()

    def left_out(self) -> str:
        """How many samples were left out and why; empty if none was."""
        splits = ", ".join(f"{count} whose picture '{split}' has" for split, count in self._left_out.items())
        return f"left out were {splits}" if splits else ""

    def report(self) -> None:
        """Notes what a user should know."""
        if self._left_out:
            note(f"{self._what}: {self.left_out()}")
        if self._transparent:
            note(
                f"{self._what}: {len(self._transparent)} pictures are transparent in places; transparency is dropped, "
                "and what lies behind it is seen (docs/data.md)"
            )
