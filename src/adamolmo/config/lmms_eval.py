"""Evaluation on the community's benchmarks: the section `lmms_eval`."""

from pydantic import Field

from adamolmo.config.values import Budgets, Count, Name, Names, Section


class LmmsTaskSettings(Section):
    """One task of lmms-eval."""

    profile: Name = Field(
        description="dataset whose profile a budget in percent refers to, and whose lookup table is used"
    )
    style: Name | None = Field(description="style prefix of the prompt, before the task's own text; null for none")
    metric: str = Field(description="the task's metric that the figure shows")


class LmmsEvalSettings(Section):
    """Evaluation on the community's benchmarks by lmms-eval: `snakemake lmms_eval`."""

    data: str | None = Field(
        description="directory of prepared task data, made once by `snakemake lmms_eval_data`; null: lmms-eval "
        "fetches what it needs from the Hub, whenever it runs"
    )
    source: str | None = Field(
        description="what task data is prepared from: null for the Hub, or a directory with copies of its "
        "repositories, such as <source>/lmms-lab-encoder/MME"
    )
    limit: Count | None = Field(description="documents per task, the first ones; null for all")
    tasks: dict[str, LmmsTaskSettings] = Field(description="tasks of lmms-eval by name; null removes one")
    controllers: Names = Field(description="controllers, by name")
    budgets: Budgets = Field(description="budgets, as in `budgets`")
