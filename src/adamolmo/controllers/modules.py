"""A controller's module, in the library or a file of one's own, and what it offers."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from adamolmo.controllers.base import ControllerContext, Design
from adamolmo.errors import AdaMolmoError, no_file
from adamolmo.inference.controller import Controller


def controller_module(module: str) -> ModuleType:
    """The imported module.

    Args:
        module: dotted name, or a Python file, which finds what lies beside it.

    Raises AdaMolmoError when there is no such module, or it has no `load`.
    """
    found = _from_file(Path(module)) if module.endswith(".py") else _by_name(module)
    if not hasattr(found, "load"):
        raise AdaMolmoError(f"{module}: has no function 'load'; expected load(name, context) -> Controller.")
    return found


def load_controller(name: str, module: str, context: ControllerContext) -> Controller:
    """The controller, ready for requests. Raises AdaMolmoError if its module or its files do not fit."""
    controller = controller_module(module).load(name, context)
    if not isinstance(controller, Controller) or not isinstance(getattr(controller, "name", None), str):
        found = f"a {type(controller).__name__}"
        raise AdaMolmoError(f"{module}: load('{name}', ...) returned {found}; expected a Controller with a name.")
    return controller


def find_design(name: str, module: str) -> Design | None:
    """How the controller decides, as its module says; None if it says nothing."""
    found = controller_module(module)
    return found.design(name) if hasattr(found, "design") else None


def _by_name(module: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, and something that it imports is not
        raise AdaMolmoError(f"module '{module}' does not exist; expected a dotted name or a Python file.") from error


def _from_file(path: Path) -> ModuleType:
    if fault := no_file(path):
        raise AdaMolmoError(f"{path}: {fault}; expected the Python file of a controller.")
    if (folder := str(path.parent.resolve())) not in sys.path:
        sys.path.append(folder)
    # Of its own: a file may be called as a module that others import, such as random.py.
    place = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8]
    name = re.sub(r"\W", "_", f"own_controller_{place}_{path.stem}")
    spec = spec_from_file_location(name, path)
    sys.modules[name] = found = module_from_spec(spec)  # pickling and dataclasses look a module up by its name
    spec.loader.exec_module(found)
    return found
