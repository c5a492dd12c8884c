"""The whole configuration, and the parts of it that single jobs see."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator

from adamolmo.config.controllers import OwnControllerSettings
from adamolmo.config.data import DatasetSettings, SampleSettings
from adamolmo.config.faults import source_of
from adamolmo.config.files import merge, read_yaml, without_removed
from adamolmo.config.lmms_eval import LmmsEvalSettings
from adamolmo.config.model import KnobSettings, ModelSettings
from adamolmo.config.profiling import CoreExpSettings, ImportanceSettings, LatencySettings, LookupSettings
from adamolmo.config.training import TrainingSettings
from adamolmo.config.values import Budgets, ControllerName, Count, Names, OwnName, Section
from adamolmo.errors import AdaMolmoError
from adamolmo.faults import sentence
from adamolmo.knobs import KnobConfig
from adamolmo.names import ORACLE, STATIC_PREFIX

_MOST_JOBS = 200_000  # of a study that Snakemake can plan in minutes
_MOST_CONFIGS = 10_000


class BootstrapSettings(Section):
    """Confidence intervals."""

    resamples: Count = Field(description="bootstrap resamples, clustered by image")


class StudyConfig(Section):
    """Everything that the study depends on."""

    seed: int = Field(ge=0, le=2**32 - 1, description="seed of everything random")
    model: ModelSettings = Field(description="the model under study")
    knobs: KnobSettings = Field(description="the values of the three knobs")
    datasets: dict[OwnName, DatasetSettings] = Field(
        description="datasets by name; null removes one", min_length=1, max_length=1000
    )
    samples: SampleSettings = Field(description="samples per dataset and split")
    max_new_tokens: Count = Field(description="longest answer, in tokens")
    importance: ImportanceSettings = Field(description="how blocks are ranked")
    core_exp: CoreExpSettings = Field(description="the profiling grid")
    lookup: LookupSettings = Field(description="lookup tables")
    latency: LatencySettings = Field(description="how latency is obtained")
    budgets: Budgets = Field(
        description="budgets evaluated: '60pct' of the full configuration's median latency, or '170ms', for each "
        "request; with '-p95' (or '-p90', '-p99') or '-mean' behind it, what the stream of requests keeps"
    )
    controllers: Names = Field(description="controllers evaluated, by name")
    own_controllers: dict[ControllerName, OwnControllerSettings] = Field(
        description="controllers that are not part of the library, by name; null removes one", max_length=1000
    )
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
        if self.controllers == [ORACLE]:
            raise ValueError(
                "controllers names the oracle alone, which answers no requests; expected a controller as well"
            )
        for name in {*self.controllers, *self.lmms_eval.controllers}:
            self._check_static(name)
        if (jobs := self._num_jobs()) > _MOST_JOBS:
            raise ValueError(
                f"datasets x (knobs.tiers x core_exp.shards + budgets x controllers) makes {jobs} jobs; "
                f"expected {_MOST_JOBS} at most"
            )
        if math.prod(self.knobs.grid.shape) > _MOST_CONFIGS:
            raise ValueError(
                f"the knobs have {math.prod(self.knobs.grid.shape)} configurations; expected {_MOST_CONFIGS} at most"
            )
        for title, count in Counter(self.titles.values()).items():
            if count > 1:
                raise ValueError(f"datasets: {count} have the title '{title}'; expected another one for each")
        return self

    def _check_static(self, name: str) -> None:
        """A controller of one configuration must be of the grid; what is none is said where controllers are looked
        up."""
        try:
            config = KnobConfig.parse(name.removeprefix(STATIC_PREFIX))
        except AdaMolmoError:
            return
        if config not in self.knobs.grid.configs:
            raise ValueError(f"controller '{name}' is not of the knobs' grid; expected {self.knobs.grid}")

    def _num_jobs(self) -> int:
        """About; those that a large study has many of."""
        of_benchmarks = len(self.lmms_eval.tasks) * len(self.lmms_eval.controllers) * len(self.lmms_eval.budgets)
        profiled, evaluated = len(self.knobs.tiers) * self.core_exp.shards, len(self.budgets) * len(self.controllers)
        return len(self.datasets) * (2 * profiled + evaluated) + of_benchmarks

    @property
    def titles(self) -> dict[str, str]:
        """What readers see of each dataset, by its name."""
        drawn = {name: " (drawn)" if dataset.source == "procedural" else "" for name, dataset in self.datasets.items()}
        return {name: dataset.title or f"{name}{drawn[name]}" for name, dataset in self.datasets.items()}

    def datasets_for(self, purpose: Literal["importance", "training"]) -> list[str]:
        """Names of the datasets that are used for it: those that say so, all where none does."""
        named = [name for name, dataset in self.datasets.items() if purpose in dataset.used_for]
        return named or list(self.datasets)

    def number_of_samples(self, dataset: str, split: str) -> int:
        return getattr(self.datasets[dataset].samples, split) or getattr(self.samples, split)

    @classmethod
    def load(cls, *paths: str | Path) -> "StudyConfig":
        """Reads YAML files; a later one overrides single keys of the earlier ones. Raises AdaMolmoError."""
        return cls.from_sources({str(path): read_yaml(path) for path in paths})

    @classmethod
    def from_sources(cls, sources: Mapping[str, Mapping]) -> "StudyConfig":
        """Of contents by the name under which a fault is reported; later ones override. Raises AdaMolmoError."""
        return cls.from_dict(reduce(merge, sources.values(), {}), sources)

    @classmethod
    def from_dict(cls, raw: Mapping, sources: Mapping[str, Mapping]) -> "StudyConfig":
        """Validates `raw`. A dataset or tier set to null is left out.

        Args:
            sources: what `raw` was merged from, by the name under which a fault is reported; later ones override.

        Raises AdaMolmoError: one sentence with the file, the key, what was found and what was expected.
        """
        try:
            return cls.model_validate(without_removed(raw))
        except ValidationError as error:
            raise AdaMolmoError(sentence(error, cls, lambda location: source_of(location, sources))) from None

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
        if get_origin(annotation) is dict:
            return {key: _construct(get_args(annotation)[1], entry) for key, entry in value.items()}
    return value
