"""Where other libraries keep their caches, if the home directory cannot be written: in containers, on some clusters.

Snakemake would not start there, Triton could not compile, and matplotlib would look for fonts again in every job.
"""

import os
import tempfile
from pathlib import Path

from adamolmo.errors import AdaMolmoError


def use_writable_caches(directory: Path) -> None:
    """Sets the environment of this process and of its jobs, so that caches are below `directory`; nothing is set if
    caches can be written where they usually are. Raises AdaMolmoError if `directory` cannot be written either."""
    usual = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME", os.path.expanduser("~")), ".cache")
    if os.path.isabs(usual) and _is_writable(usual):
        return
    downloads = os.path.join(usual, "huggingface")
    if os.path.isdir(downloads):  # what is there can be read still
        os.environ.setdefault("HF_HOME", os.path.abspath(downloads))
    directory = directory.absolute()
    if not _is_writable(directory):
        raise AdaMolmoError(f"neither {usual} nor {directory} can be written to; set XDG_CACHE_HOME.")
    os.environ["XDG_CACHE_HOME"] = str(directory)
    os.environ.setdefault("MPLCONFIGDIR", str(directory / "matplotlib"))
    os.environ.setdefault("TRITON_HOME", str(directory))


def _is_writable(directory: str | Path) -> bool:
    try:
        os.makedirs(directory, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False
