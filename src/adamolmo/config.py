"""The study's configuration: one typed model per section of `config.yaml`, every key described.

`docs/configuration.md` and its JSON schema are generated from these models. Every value stands in `config.yaml`, and
further files only override it. The only defaults in code are those of a dataset's entry, which users add themselves.
"""

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from adamolmo.budgets import Budget
from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import CropRange, KnobConfig


def _budget(text: Any) -> str:
    try:
        return str(Budget.parse(text))
    except AdaMolmoError as error:
        raise ValueError(str(error)) from error


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", text):
        raise ValueError(f"'{text}' is not a name; expected lower-case letters, digits and underscores")
    return text


def _ascending(values: list[int]) -> list[int]:
    if not values or any(a >= b for a, b in pairwise(values)):
        raise ValueError(f"{values} is not a list of different numbers in ascending order")
    return values


def _distinct(values: list[str]) -> list[str]:
    if not values:
        raise ValueError("the list is empty; expected at least one entry")
    if len(set(values)) < len(values):
        raise ValueError(f"the list names '{next(v for v in values if values.count(v) > 1)}' twice")
    return values


def _count_or_all(value: Any) -> Any:
    if value != "all" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError(f"'{value}' is neither a whole number from 1 nor 'all'")
    return value


Name = Annotated[str, AfterValidator(_name)]
BudgetText = Annotated[str, BeforeValidator(_budget)]
Count = Annotated[int, Field(ge=1)]
CountOrAll = Annotated[Count | Literal["all"], BeforeValidator(_count_or_all)]
# As in `importance.RULES`, which a test compares.
SelectionRule = Literal[
    "accuracy_drop", "activation_norm", "gradient", "attention_entropy", "random", "prefix", "beam_search"
]
Ascending = Annotated[list[Count], AfterValidator(_ascending)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelSettings(Section):
    """The model under study."""

    checkpoint: str = Field(
        description="a directory with config.json, tokenizer.json and safetensors weights (released or native olmo "
        "format), or a repository of the Hugging Face Hub with these files, owner/name"
    )
    fixed_prefix_layers: Count = Field(
        description="blocks that always run, with the model's own top_k; the two-stage controllers decide after them"
    )
    dtype: Literal["float32", "bfloat16"] = Field(description="number format of the weights and the computation")
    device: Literal["cpu", "cuda"] = Field(description="where the model runs; a job claims one core or one GPU")


class TierSettings(Section):
    """One vision tier: a range of high-resolution crops; the overview crop comes on top."""

    min_crops: Count = Field(description="fewest high-resolution crops of an image")
    max_crops: Count = Field(description="most high-resolution crops of an image")

    @model_validator(mode="after")
    def _check(self) -> "TierSettings":
        if self.min_crops > self.max_crops:
            raise ValueError(f"min_crops {self.min_crops} is above max_crops {self.max_crops}")
        return self


def _cheapest_first(tiers: dict[str, TierSettings]) -> dict[str, TierSettings]:
    """Files that override each other leave the keys of a mapping in no particular order."""
    ordered = sorted(tiers.items(), key=lambda item: (item[1].max_crops, item[1].min_crops))
    for (name, tier), (other, same) in pairwise(ordered):
        if tier == same:
            raise ValueError(f"tiers '{name}' and '{other}' have the same crops; expected different ones")
    return dict(ordered)


class KnobSettings(Section):
    """The values that each of the three knobs can take; the grid is their product."""

    tiers: Annotated[dict[Name, TierSettings], AfterValidator(_cheapest_first)] = Field(
        description="vision tiers by name; they are ordered by their crops", min_length=1
    )
    top_k: Ascending = Field(description="experts per token in the blocks after the fixed prefix, ascending")
    num_active_blocks: Ascending = Field(
        description="transformer blocks that run, the fixed prefix included, ascending"
    )

    @property
    def crop_ranges(self) -> dict[str, CropRange]:
        return {name: CropRange(tier.min_crops, tier.max_crops) for name, tier in self.tiers.items()}

    @property
    def full(self) -> KnobConfig:
        """The dearest configuration: all knobs at their highest value."""
        return KnobConfig(list(self.tiers)[-1], self.top_k[-1], self.num_active_blocks[-1])

    def grid(self) -> list[KnobConfig]:
        """All configurations, the cheapest value of every knob first."""
        return [KnobConfig(t, k, b) for t in self.tiers for k in self.top_k for b in self.num_active_blocks]


class SplitSettings(Section):
    """Which split of the dataset each study split is drawn from. Where two name the same one, it is shared out by image
    (importance : profile : evaluation as 1 : 6 : 3)."""

    importance: str | None = Field(None, description="the dataset's split for `importance`; null for all its files")
    profile: str | None = Field(None, description="the dataset's split for `profile`; null for all its files")
    evaluation: str | None = Field(None, description="the dataset's split for `evaluation`; null for all its files")


class ColumnSettings(Section):
    """Names of a dataset's columns; `a.b` is field b of column a, and of all entries if a is a list. A question that is
    such a field gives one sample per entry."""

    question: str = Field("question", description="column of the question")
    image: str = Field("image", description="column of the image file's bytes, plain or as the Hub's image type")
    answers: str = Field("answers", description="column of the answer or answers; with options, the right one's number")
    options: str | None = Field(None, description="column of the options of a multiple-choice question")
    context: str | None = Field(None, description="column of a text put before the question")
    question_id: str | None = Field(None, description="column of the question's id; null takes file and row")
    image_id: str | None = Field(None, description="column of the image's id; null takes a hash of the image")


class DatasetSettings(Section):
    """One visual question answering dataset."""

    source: Literal["procedural", "hub", "parquet"] = Field(
        description="where the samples come from: 'procedural' draws them by seed, 'hub' is a dataset of the Hugging "
        "Face Hub, 'parquet' is files on this machine"
    )
    path: str | None = Field(
        None,
        description="hub: the repository, owner/name; parquet: a file, or a folder of files, seen from where Snakemake "
        "runs",
    )
    config: str | None = Field(None, description="the dataset's configuration, a folder of its Parquet files")
    splits: SplitSettings = Field(SplitSettings(), description="the dataset's splits; none: all its files, shared out")
    columns: ColumnSettings = Field(ColumnSettings(), description="the dataset's columns")
    style: Name | None = Field(description="style prefix of the prompt (' User: {style}: ...'); null for none")
    scorer: Literal["vqa", "anls", "multiple_choice", "count"] = Field(
        description="how an answer is scored: VQA soft accuracy, normalised edit distance, the right option, or the "
        "right number"
    )

    @model_validator(mode="after")
    def _check(self) -> "DatasetSettings":
        if self.source != "procedural" and self.path is None:
            raise ValueError(f"source '{self.source}' needs the key 'path'")
        if self.source == "procedural" and (self.path or self.config):
            raise ValueError(
                "source 'procedural' has no 'path' or 'config'; set them to null, or expected another source"
            )
        return self


class SampleSettings(Section):
    """Samples per dataset and split; the splits share no image."""

    importance: Count = Field(description="samples that score the importance of the blocks")
    profile: Count = Field(description="samples of core_exp, from which tables and controllers are made")
    evaluation: Count = Field(description="samples on which every cell is evaluated")


class ImportanceSettings(Section):
    """How the importance of the blocks is scored."""

    tier: Name = Field(description="vision tier at which blocks are skipped one at a time")
    selection: SelectionRule = Field(
        description="rule by which blocks are removed: the least score first; 'accuracy_drop' when the block alone is "
        "skipped, 'activation_norm', 'gradient', 'attention_entropy', 'random', 'prefix' (the last blocks go), or "
        "'beam_search' over sets of blocks, which need not be nested"
    )
    beam_width: Count = Field(description="sets of each size that a beam search goes on from")


class CoreExpSettings(Section):
    """The profiling grid: every configuration on every sample of the profile split."""

    shards: Count = Field(description="jobs per dataset and tier; each profiles its share of the samples")
    batch_size: Count = Field(description="samples per batch at most, of the passes that are not timed")
    memory_mb: Count = Field(
        description="memory that a batch of these passes may take beyond the weights, in MB by estimate"
    )
    max_failed_fraction: float = Field(
        ge=0, le=1, description="share of unreadable samples above which the study stops"
    )


class LookupSettings(Section):
    """How a lookup table is made and chosen from."""

    tolerance: float = Field(ge=0, description="a configuration is a candidate up to budget * (1 + tolerance)")
    pooled: bool = Field(description="true: one table over all datasets; false: one per dataset")


class LatencySettings(Section):
    """How latency is obtained."""

    clock: Literal["measured", "modelled"] = Field(
        description="'measured' times the device; 'modelled' computes latency from operations and bytes, reproducibly"
    )
    samples: CountOrAll = Field(
        description="samples per dataset whose latency is measured in core_exp; the others' is estimated from them"
    )
    repeats: Count = Field(description="timed runs per sample and configuration in core_exp; the median is kept")
    max_warmup: Count = Field(description="most warm-up runs before timing starts")
    drift_limit_pct: float = Field(gt=0, description="drift of the reference configuration above which rows are marked")


class RewardSettings(Section):
    """accuracy - beta*sigmoid(10*(r-1)) - gamma*max(0,r-1)^2 [+ delta*(1-r) if r <= 1] - epsilon*complexity,
    with r = latency / budget."""

    beta: float = Field(ge=0, description="weight of the soft step at the budget")
    gamma: float = Field(ge=0, description="weight of the squared overshoot")
    delta: float = Field(ge=0, description="weight of the time saved when the budget is met")
    epsilon: float = Field(ge=0, description="weight of the configuration's complexity")


class MobileViTSettings(Section):
    """The vision encoder of the controllers with '-mobilevit' in their name."""

    checkpoint: str | None = Field(
        description="directory or Hub name of MobileViT weights, which are then frozen; null: a network of `width`, "
        "trained with the controller"
    )
    width: float = Field(gt=0, le=1, description="channels as a share of MobileViT-small's")


class TrainingSettings(Section):
    """How the learned controllers are trained on the profile."""

    objective: Literal["grpo", "exact", "supervised"] = Field(
        description="'grpo' samples groups; 'exact' uses all rewards at once; 'supervised' imitates the best choice"
    )
    budgets: Annotated[list[BudgetText], Field(min_length=2, max_length=2)] = Field(
        description="lowest and highest budget that training draws from, uniformly; apart from `budgets`, so that "
        "a new evaluated budget retrains nothing"
    )
    held_out: float = Field(gt=0, lt=1, description="share of the profile's images kept apart, to stop early by")
    patience: Count = Field(
        description="rows of the training log without a better held-out reward before training stops"
    )
    steps: Count = Field(description="optimiser steps at most")
    batch_size: Count = Field(description="(sample, budget) pairs per step")
    group_size: int = Field(ge=2, description="configurations drawn per pair (objective grpo)")
    learning_rate: float = Field(gt=0, description="step size of AdamW")
    clip: float = Field(gt=0, description="clipping range of the policy ratio (objective grpo)")
    kl: float = Field(ge=0, description="weight of the KL divergence to the reference policy")
    entropy: float = Field(ge=0, description="weight of the entropy bonus")
    reward: RewardSettings = Field(description="weights of the reward")
    mobilevit: MobileViTSettings = Field(description="vision encoder of the controllers with '-mobilevit'")


class BootstrapSettings(Section):
    """Confidence intervals."""

    resamples: Count = Field(description="bootstrap resamples, clustered by image")


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
    controllers: Annotated[list[str], AfterValidator(_distinct)] = Field(description="controllers, by name")
    budgets: Annotated[list[BudgetText], AfterValidator(_distinct)] = Field(description="budgets, as in `budgets`")


class StudyConfig(Section):
    """Everything that the study depends on."""

    seed: int = Field(ge=0, description="seed of everything random")
    model: ModelSettings = Field(description="the model under study")
    knobs: KnobSettings = Field(description="the values of the three knobs")
    datasets: dict[Name, DatasetSettings] = Field(description="datasets by name; null removes one", min_length=1)
    samples: SampleSettings = Field(description="samples per dataset and split")
    max_new_tokens: Count = Field(description="longest answer, in tokens")
    importance: ImportanceSettings = Field(description="how blocks are ranked")
    core_exp: CoreExpSettings = Field(description="the profiling grid")
    lookup: LookupSettings = Field(description="lookup tables")
    latency: LatencySettings = Field(description="how latency is obtained")
    budgets: Annotated[list[BudgetText], AfterValidator(_distinct)] = Field(
        description="budgets evaluated: '60pct' of the full configuration's median latency, or '170ms'"
    )
    controllers: Annotated[list[str], AfterValidator(_distinct)] = Field(description="controllers evaluated, by name")
    training: TrainingSettings = Field(description="training of the learned controllers")
    bootstrap: BootstrapSettings = Field(description="confidence intervals")
    lmms_eval: LmmsEvalSettings = Field(description="evaluation by lmms-eval, not part of the default targets")

    @model_validator(mode="after")
    def _check(self) -> "StudyConfig":
        lowest = self.knobs.num_active_blocks[0]
        if lowest < self.model.fixed_prefix_layers:
            raise ValueError(
                f"knobs.num_active_blocks has {lowest}, below model.fixed_prefix_layers "
                f"{self.model.fixed_prefix_layers}; the fixed prefix always runs"
            )
        if self.importance.tier not in self.knobs.tiers:
            raise ValueError(
                f"importance.tier is '{self.importance.tier}'; expected one of knobs.tiers: "
                f"{', '.join(self.knobs.tiers)}"
            )
        return self

    @classmethod
    def load(cls, *paths: str | Path) -> "StudyConfig":
        """Reads YAML files; a later one overrides single keys of the earlier ones. Raises AdaMolmoError."""
        merged: dict = {}
        for path in paths:
            merged = _merge(merged, read_yaml(path))
        return cls.from_dict(merged, *paths)

    @classmethod
    def from_dict(cls, raw: Mapping, *sources: str | Path) -> "StudyConfig":
        """Validates `raw`, merged from the files `sources`. A dataset or tier set to null is left out.

        Raises AdaMolmoError: one sentence with the file, the key, what was found and what was expected.
        """
        try:
            return cls.model_validate(_without_removed(raw))
        except ValidationError as error:
            raise AdaMolmoError(_sentence(error, raw, sources)) from None

    def subset(self, *keys: str) -> str:
        """Canonical JSON of some keys (`"seed"`, `"samples.profile"`, `"datasets.okvqa"`): what a job depends on.

        The order of the keys is the order of the models, so equal settings give equal text.
        """
        full, chosen = self.model_dump(mode="json"), {}
        for key in keys:
            value, target = full, chosen
            *parents, last = key.split(".")
            for parent in parents:
                value, target = value[parent], target.setdefault(parent, {})
            target[last] = value[last]
        return json.dumps(_like(full, chosen))

    @classmethod
    def from_subset(cls, text: str) -> "StudyConfig":
        """A partial configuration from `subset`: only the keys that were chosen exist on it."""
        return _construct(cls, json.loads(text))


def read_yaml(path: str | Path) -> dict:
    """Raises AdaMolmoError that names the file."""
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise AdaMolmoError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(content, dict):
        raise AdaMolmoError(f"{path}: holds a {type(content).__name__}; expected keys and values.")
    return content


def _merge(base: Mapping, override: Mapping) -> dict:
    """`override` wins key by key, mappings are merged (as Snakemake merges its config files)."""
    merged = dict(base)
    for key, value in override.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _without_removed(raw: Mapping) -> dict:
    """Leaves out datasets, tiers and tasks that a later file has set to null."""
    kept = dict(raw)
    if isinstance(raw.get("datasets"), Mapping):
        kept["datasets"] = _not_null(raw["datasets"])
    for section, key in (("knobs", "tiers"), ("lmms_eval", "tasks")):
        if isinstance(raw.get(section), Mapping) and isinstance(raw[section].get(key), Mapping):
            kept[section] = {**raw[section], key: _not_null(raw[section][key])}
    return kept


def _not_null(entries: Mapping) -> dict:
    return {name: entry for name, entry in entries.items() if entry is not None}


def _like(full: Mapping, chosen: Mapping) -> dict:
    """`chosen` in the key order of `full`."""
    return {
        key: _like(value, chosen[key]) if isinstance(chosen[key], dict) else chosen[key]
        for key, value in full.items()
        if key in chosen
    }


def _construct(annotation: Any, value: Any) -> Any:
    """The typed form of validated JSON, where keys may be absent."""
    if isinstance(value, dict):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            fields = annotation.model_fields
            return annotation.model_construct(**{k: _construct(fields[k].annotation, v) for k, v in value.items()})
        return {key: _construct(get_args(annotation)[1], entry) for key, entry in value.items()}
    return value


def _sentence(error: ValidationError, raw: Mapping, sources: Sequence[str | Path]) -> str:
    """The first fault of `error`, and how many more there are."""
    fault = error.errors()[0]
    location = tuple(part for part in fault["loc"] if part != "[key]")  # pydantic's mark of a mapping's bad key
    key = _dotted(location)
    source = _source_of(location, sources)
    message = re.sub(r"^(Value error, |Input should be )", "", fault["msg"]).rstrip(".")
    message = message.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    if fault["type"] == "extra_forbidden":
        known = list(_model_at(location[:-1]).model_fields)
        close = get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"expected one of {', '.join(known)}."
        text = f"{source}: key '{key}' is unknown; {hint}"
    elif fault["type"] == "missing":
        description = _model_at(location[:-1]).model_fields[location[-1]].description
        text = f"{source}: key '{key}' is missing; expected {description}."
    elif fault["type"] == "value_error":
        text = f"{source}: {f'key {key!r}: ' if key else ''}{message}{'' if message.endswith('?') else '.'}"
    else:
        text = f"{source}: key '{key}' is {_shown(fault['input'])}; expected {message}."
    more = error.error_count() - 1
    return text if not more else f"{text} ({more} more fault{'s' if more > 1 else ''} in the configuration.)"


def _dotted(location: Sequence[int | str]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _source_of(location: Sequence[int | str], sources: Sequence[str | Path]) -> str:
    """The file that holds the key or most of its parents; of several the last, which overrides the others."""

    def depth(source: str | Path) -> int:
        content: Any = read_yaml(source)
        for found, part in enumerate(location):
            if not isinstance(content, Mapping) or part not in content:
                return found
            content = content[part]
        return len(location)

    return str(max(reversed(sources), key=depth)) if sources else "configuration"


def _model_at(location: Sequence[int | str]) -> type[BaseModel]:
    """The section that `location` leads to."""
    annotation: Any = StudyConfig
    for part in location:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[part].annotation
        else:
            annotation = get_args(annotation)[1]
    return annotation
