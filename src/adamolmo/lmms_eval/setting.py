"""From the study's settings and results to how a task is answered."""

from pathlib import Path

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig
from adamolmo.controllers.governor import load_governor
from adamolmo.controllers.modules import load_controller
from adamolmo.errors import AdaMolmoError
from adamolmo.evaluation.cell_summary import check_reference
from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import read_json
from adamolmo.jobs.loading import controller_context, study_device
from adamolmo.lmms_eval.model import Setting


def load_setting(
    settings: StudyConfig,
    model_dir: Path,
    profile: str,
    controller: str,
    module: str,
    budget: Budget,
    style: str | None,
) -> Setting:
    """The controller of the study whose results are beside `model_dir`, under the budget, with a governor of its own:
    one setting per task.

    Args:
        module: where the controller comes from, as in the registry.
        profile: dataset of the study whose lookup table is used, and which a budget in percent refers to.

    Raises AdaMolmoError when a file of the study is missing, or was made for another model, device or clock.
    """
    device = study_device(settings, model_dir)
    context = controller_context(settings, model_dir, profile)
    reference_ms = 0.0
    if budget.unit == "pct":
        reference = read_json(reference_path(model_dir, profile), Reference)
        check_reference(reference, device, settings.latency.clock)
        reference_ms = reference.median_latency_ms
    loaded = load_controller(controller, module, context)
    return Setting(loaded, load_governor(loaded, budget, budget.to_ms(reference_ms), context), style)


def reference_path(model_dir: Path, profile: str) -> Path:
    return model_dir.parent / "core_exp" / f"{profile}.reference.json"


def check_profile(settings: StudyConfig, task: str, profile: str) -> None:
    """Raises AdaMolmoError when the study has no such dataset."""
    if profile not in settings.datasets:
        raise AdaMolmoError(
            f"task '{task}': profile '{profile}' is not a dataset of the study; expected one of "
            f"{', '.join(settings.datasets)}."
        )
