"""Whether Snakemake's records in this folder are those of the results in it.

Snakemake notes in `.snakemake` which settings and inputs made a file. Without that note it takes any file for finished,
so results copied from elsewhere would silently pass for those of the present configuration. Therefore both folders
carry the same random mark.
"""

import secrets
from pathlib import Path

from adamolmo.errors import AdaMolmoError
from adamolmo.files.writing import replacing

_MARK = "study_id"


def check_records(results: Path, records: Path) -> None:
    """Raises AdaMolmoError when there are results that the records know nothing of."""
    if not _others(results):
        return
    found, known = _read(results), _read(records)
    if found == known and (known or _others(records / "metadata")):
        return
    raise AdaMolmoError(
        f"{results}: was not made in this folder ({records} belongs to other results or is new), so nobody knows with "
        f"which settings; move it away, bring the {records} that belongs to it, or, if you know that it was made with "
        "exactly this configuration, say so once with 'snakemake --touch --forceall --cores 1'."
    )


def mark_results(results: Path, records: Path) -> None:
    """From now on the two belong together. Raises AdaMolmoError when they cannot be written to."""
    mark = _read(records) or secrets.token_hex(8)
    for folder in (results, records):
        if _read(folder) != mark:
            with replacing(folder / _MARK) as temporary:
                temporary.write_text(mark)


def _read(folder: Path) -> str | None:
    path = folder / _MARK
    return path.read_text() if path.is_file() else None


def _others(folder: Path) -> bool:
    """Whether anything but the mark is in the folder."""
    return folder.is_dir() and any(entry.name != _MARK for entry in folder.iterdir())
