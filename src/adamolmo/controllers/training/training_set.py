"""What a policy is trained on: the profiled samples joined with their features, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adamolmo.backend.interface import BudgetPrefix
from adamolmo.controllers.training.features import Features, Readings, stack_prompts
from adamolmo.controllers.training.reward import Profile
from adamolmo.core_exp.expected_latency import ExpectedLatency
from adamolmo.errors import AdaMolmoError
from adamolmo.files.policy import Fingerprint


@dataclass(frozen=True)
class TrainingSet:
    """Attributes:
    fingerprint: of the study, what the profile and the features were made for.
    profile: rewards, one row per sample.
    readings: what stage 1 reads, one row per sample, on the device of `prefix`.
    expected: expected latencies of each dataset.
    prefix: the fixed prefix of the model, for stage 2.
    stored: features file of each dataset.
    places: (dataset, position in its features) of each row.
    """

    fingerprint: Fingerprint
    profile: Profile
    readings: Readings
    expected: Mapping[str, ExpectedLatency]
    prefix: BudgetPrefix
    stored: Mapping[str, Features]
    places: Sequence[tuple[str, int]]

    @classmethod
    def join(
        cls,
        fingerprint: Fingerprint,
        profile: Profile,
        features: Mapping[str, Features],
        expected: Mapping[str, ExpectedLatency],
        prefix: BudgetPrefix,
    ) -> TrainingSet:
        """The samples that have both a profile and features.

        Args:
            features, expected: by dataset.

        Raises AdaMolmoError: the features belong to another model, or no sample has both.
        """
        positions = _positions(features, fingerprint)
        profile = profile.take([row for row, sample in enumerate(profile.samples) if sample in positions])
        if not profile.samples:
            raise AdaMolmoError(f"no profiled sample of {', '.join(features)} has features; make the features again.")
        places = [(dataset, positions[dataset, sample_id]) for dataset, sample_id in profile.samples]

        def rows_of(reading: str) -> Tensor:
            rows = [getattr(features[dataset].readings, reading)[position] for dataset, position in places]
            return torch.stack(rows).to(prefix.device)

        readings = Readings(*map(rows_of, ("question", "overview", "thumbnail")))
        return cls(fingerprint, profile, readings, expected, prefix, features, places)

    @property
    def device(self) -> torch.device:
        return self.prefix.device

    @property
    def sizes(self) -> dict[str, int]:
        """Widths of what a policy can read."""
        return {"d_model": self.readings.question.shape[1], "overview_dim": self.readings.overview.shape[1]}

    def states(self, rows: Sequence[int], tier: int, tokens: Tensor) -> Tensor:
        """Budget tokens [samples, budgets, d_model] behind the prompts of these rows at a tier (by index), after the
        fixed prefix: the same shape, float32, with gradients to the tokens."""
        prompts = [
            self.stored[dataset].prompt(position, tier) for dataset, position in map(self.places.__getitem__, rows)
        ]
        dtype = self.prefix.dtype
        return self.prefix(tokens.to(dtype), *stack_prompts(prompts, dtype, self.device)).float()


def _positions(features: Mapping[str, Features], fingerprint: Fingerprint) -> dict[tuple[str, str], int]:
    """Where each (dataset, sample_id) stands in its dataset's features."""
    for dataset, stored in features.items():
        for field, wanted in (
            ("model_checksum", fingerprint.model_checksum),
            ("fixed_prefix_layers", fingerprint.fixed_prefix_layers),
            ("tiers", fingerprint.grid.tiers),
        ):
            if (found := getattr(stored.info, field)) != wanted:
                raise AdaMolmoError(
                    f"features of {dataset}: made for {field} '{found}'; this study has '{wanted}', make them again."
                )
    return {
        (dataset, sample_id): position
        for dataset, stored in features.items()
        for position, sample_id in enumerate(stored.info.sample_ids)
    }
