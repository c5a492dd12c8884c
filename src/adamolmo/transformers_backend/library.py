"""The library transformers, which an installation may lack: whoever needs it imports it from here."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adamolmo.errors import AdaMolmoError, stable

_INSTALL = "pip install -c envs/constraints.txt -e '.[transformers]'"
_VERSION = "5.23"  # what the families were tried with; the contract suite decides upgrades

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when transformers is imported: a checkpoint is a directory

try:
    import transformers
except ImportError as error:
    raise AdaMolmoError(
        f"this model needs the package transformers {_VERSION}, which cannot be imported ({error}): {_INSTALL}."
    ) from error

if not transformers.__version__.startswith(f"{_VERSION}."):
    raise AdaMolmoError(
        f"transformers is {transformers.__version__}; expected {_VERSION}, which this model was tried with: {_INSTALL}."
    )

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

__all__ = ["explained", "transformers"]


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """While the library reads a file of a checkpoint: it raises what its many parsers raise, of any kind.

    Raises AdaMolmoError for that.
    """
    try:
        yield
    except Exception as error:
        raise AdaMolmoError(f"{path}: transformers cannot use it ({stable(str(error))}).") from error
