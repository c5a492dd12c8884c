"""The library transformers, which an installation may lack: whoever needs it imports it from here."""

import os

from adamolmo.errors import AdaMolmoError

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

__all__ = ["transformers"]
