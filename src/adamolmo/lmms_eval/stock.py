"""Finding a task of lmms-eval by its name, without reading all of its 2000 task files as YAML."""

import re
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from adamolmo.errors import AdaMolmoError

OWN_PREFIX = "adamolmo_"  # of the tasks on the study's own datasets
OWN_TASKS = Path(__file__).parent / "tasks"
_NAME = re.compile(r"^(task|group):[ \t]*[\"']?([\w.+-]+)[\"']?[ \t]*(?:#.*)?$", re.MULTILINE)


def find_task(name: str) -> Path:
    """The task's file. Raises AdaMolmoError for an unknown name and for a group of tasks."""
    kinds: dict[str, str] = {}
    for folder in (OWN_TASKS, stock_tasks()):
        for path in sorted(folder.rglob("*.yaml")):
            for kind, found in _NAME.findall(path.read_text()):
                if (kind, found) == ("task", name):
                    return path
                kinds[found] = kind
    if kinds.get(name) == "group":
        raise AdaMolmoError(f"'{name}' is a group of lmms-eval's tasks; expected the name of one task.")
    close = get_close_matches(name, kinds, n=1)
    hint = f"did you mean '{close[0]}'?" if close else "`python -m lmms_eval --tasks list` shows their names."
    raise AdaMolmoError(f"task '{name}' is unknown to lmms-eval; {hint}")


def stock_tasks() -> Path:
    """The folder of lmms-eval's own tasks. Raises AdaMolmoError when lmms-eval is not installed."""
    spec = find_spec("lmms_eval")
    if spec is None:
        raise AdaMolmoError("lmms-eval is not installed here; expected the environment that `make lmms-eval` makes.")
    return Path(spec.submodule_search_locations[0]) / "tasks"


def load_config(name: str) -> dict:
    """The task's configuration with what it includes, its functions left out. Raises as `find_task`."""
    from lmms_eval.utils import load_yaml_config

    return load_yaml_config(str(find_task(name)), mode="simple")


def load_task(name: str):
    """The task with its documents, ready for `simple_evaluate`. Raises as `find_task`."""
    from lmms_eval.tasks import TaskManager

    manager = TaskManager("WARNING", str(find_task(name).parent), include_defaults=False, model_name="adamolmo")
    return manager.load_task_or_group([name])[name]
