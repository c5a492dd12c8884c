"""Evaluation on the community's benchmarks: the section `lmms_eval`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from adamolmo.config.values import Budgets, Count, Name, Names, Section, TaskName, Text


class LmmsTaskSettings(Section):
    """One task of lmms-eval."""

    profile: Name = Field(
        description="dataset whose profile a budget in percent refers to, and whose lookup table is used"
    )
    style: Name | None = Field(description="style prefix of the prompt, before the task's own text; null for none")
    metric: Text = Field(description="the task's metric that the figure shows")


def _apart_in_files(tasks: dict[str, LmmsTaskSettings]) -> dict[str, LmmsTaskSettings]:
    """Each has a folder, and not every file system tells A from a."""
    lower: dict[str, str] = {}
    for name in tasks:
        if (other := lower.setdefault(name.lower(), name)) != name:
            raise ValueError(f"the names '{other}' and '{name}' differ in their case alone; expected different ones")
    return tasks


class LmmsEvalSettings(Section):
    """Evaluation on the community's benchmarks by lmms-eval: `snakemake lmms_eval`."""

    data: Text | None = Field(
        description="directory of prepared task data, made once by `snakemake lmms_eval_data`; null: lmms-eval "
        "fetches what it needs from the Hub, whenever it runs"
    )
    source: Text | None = Field(
        description="what task data is prepared from: null for the Hub, or a directory with copies of its "
        "repositories, such as <source>/lmms-lab-encoder/MME"
    )
    limit: Count | None = Field(description="documents per task, the first ones; null for all")
    tasks: Annotated[dict[TaskName, LmmsTaskSettings], AfterValidator(_apart_in_files)] = Field(
        description="tasks of lmms-eval by name; null removes one", max_length=1000
    )
    controllers: Names = Field(description="controllers, by name")
    budgets: Budgets = Field(description="budgets, as in `budgets`")
