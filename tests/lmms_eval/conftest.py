"""A finished miniature study with all datasets, and benchmark data made up for it."""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from mini_study import MINI, ROOT, Study

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig

OVERRIDE = "tests/lmms_eval/lmms.yaml"


@dataclass
class Bench:
    """A finished study, and directories of prepared task data."""

    study: Study

    @cached_property
    def settings(self) -> StudyConfig:
        return StudyConfig.load(ROOT / "config.yaml", ROOT / MINI, ROOT / OVERRIDE)

    @cached_property
    def engine(self):
        from adamolmo.jobs.loading import load_engine

        return load_engine(self.settings, self.model_dir, self.study.path("results/importance/scores.json"))

    @property
    def model_dir(self) -> Path:
        return self.study.path("results/model")

    def model(self, controller: str, budget: str, profile: str = "coco_2014_vqa", style: str | None = "vqa2"):
        """A light model around the one engine."""
        from adamolmo.controllers.registry import find_controller
        from adamolmo.lmms_eval.model import AdaMolmo
        from adamolmo.lmms_eval.setting import load_setting

        module = find_controller(controller, self.settings.own_controllers).module
        setting = load_setting(self.settings, self.model_dir, profile, controller, module, Budget.parse(budget), style)
        return AdaMolmo(self.engine, lambda task: setting)


@pytest.fixture(scope="session")
def bench(tmp_path_factory) -> Bench:
    pytest.importorskip("lmms_eval", reason="lmms-eval is not installed (make test-lmms-eval)")
    study = Study.clone(tmp_path_factory.mktemp("bench"))
    (study.repository / OVERRIDE).parent.mkdir(parents=True)
    shutil.copy2(ROOT / OVERRIDE, study.repository / OVERRIDE)
    datasets = ("text_vqa", "okvqa", "coco_2014_vqa")
    cells = [
        f"results/eval/{dataset}/{name}/60pct.json" for dataset in datasets for name in ("static-full", "lookup-mean")
    ]
    result = study.snakemake("--", *cells, configs=(study.repository / OVERRIDE,))
    assert result.returncode == 0, result.output
    return Bench(study)


@pytest.fixture(scope="session")
def unscored(bench, tmp_path_factory):
    """The five stock tasks, with references that nobody says."""
    from fabricated import prepared

    return prepared(tmp_path_factory.mktemp("unscored"))
