"""What is there to gain on lookup-mean, and how much of it do controllers get? From the profile alone; no model runs.

    python benchmarks/controllers_offline.py [--config config.yaml] [--results results] [--set training.objective=exact]
        [--controllers two-stage-language single-stage-mlp] [--budgets 45pct 60pct] [--folds 3]

The profile's images are split into folds; table and controllers learn from all folds but one and choose for that one.
Accuracy and latency of a choice are read off the profile, which knows no noise and no controller time. For every budget
it prints accuracy, difference to lookup-mean (95 % interval, paired, by image) and violation rate of

- lookup-mean; the same without tolerance, which keeps the budget as a policy must; one table for all datasets, for
  requests whose dataset nobody knows; a table for each kind of question (its first words): what wording is worth;
- the oracle, and the oracle that may only choose the tier: what is there at most;
- the controllers, trained as configured. `--set` overrides single keys of the configuration.
"""

import argparse
from pathlib import Path

import numpy as np
import yaml

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig
from adamolmo.core_exp import expected_latency
from adamolmo.core_exp.reading import read_profiles
from adamolmo.files.core_exp import REFERENCE
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import read_json, read_table
from adamolmo.inference.latency import claim_device
from adamolmo.jobs.loading import describe_study
from adamolmo.jobs.script import run
from adamolmo.statistics.intervals import paired_bootstrap

KNOBS = ["tier", "top_k", "num_active_blocks"]
COLUMNS = ["dataset", "sample_id", "image_id", *KNOBS, "accuracy", "latency_ms", "flops", "num_crops", "input_tokens"]
WORDS_OF_A_KIND = 4
FEWEST_OF_A_KIND = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--controllers", nargs="*", default=["two-stage-language", "single-stage-mlp"])
    parser.add_argument("--budgets", nargs="+", default=["40pct", "45pct", "50pct", "55pct", "60pct", "70pct", "80pct"])
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--set", nargs="*", default=[], help="dotted.key=value, the value as YAML")
    args = parser.parse_args()
    settings = overridden(StudyConfig.load(*args.config), args.set)
    with claim_device(settings.model.device):
        Comparison(settings, args.results).run(args.controllers, args.budgets, args.folds)


def overridden(settings: StudyConfig, changes: list[str]) -> StudyConfig:
    raw = settings.model_dump()
    for change in changes:
        key, _, value = change.partition("=")
        *parents, last = key.split(".")
        section = raw
        for parent in parents:
            section = section[parent]
        section[last] = yaml.safe_load(value)
    return StudyConfig.from_dict(raw, {"--set": raw})


class Comparison:
    """The joined profile and features of a study, and who chooses what from them."""

    def __init__(self, settings: StudyConfig, results: Path):
        import torch

        from adamolmo.controllers.training.features import Features, FixedPrefix
        from adamolmo.controllers.training.reward import Profile
        from adamolmo.controllers.training.training_set import TrainingSet

        self.settings, model = settings, settings.model
        paths = [results / "core_exp" / f"{dataset}.parquet" for dataset in settings.datasets]
        core_exp, shared = read_profiles(paths, COLUMNS)
        study = describe_study(settings, results / "model", shared["device"])
        self.grid = study.grid
        self.reference_ms = {
            dataset: read_json(results / "core_exp" / f"{dataset}.reference.json", REFERENCE)["median_latency_ms"]
            for dataset in settings.datasets
        }
        lowest, highest = (Budget.parse(text) for text in settings.training.budgets)
        budgets_ms = {dataset: (lowest.to_ms(ms), highest.to_ms(ms)) for dataset, ms in self.reference_ms.items()}
        latency = results / "lookup" / "expected_latency.json"
        expected = {
            dataset: expected_latency.load(latency, dataset, study.grid.configs, study.grid.tiers)
            for dataset in settings.datasets
        }
        self.data = TrainingSet.join(
            study,
            Profile.from_frame(core_exp, study.grid, budgets_ms, expected),
            {dataset: Features(results / "features" / f"{dataset}.safetensors") for dataset in settings.datasets},
            expected,
            FixedPrefix.load(results / "model", model.fixed_prefix_layers, getattr(torch, model.dtype), model.device),
        )
        profile = self.data.profile
        self.accuracy, self.latency_ms = profile.accuracy.double().numpy(), profile.latency_ms.double().numpy()
        self.dataset = np.array([dataset for dataset, _ in profile.samples])
        self.image = np.array([f"{dataset}/{image}" for dataset, image in profile.images])
        questions = {}
        for dataset in settings.datasets:
            table, _ = read_table(results / "data" / dataset / "profile.parquet", SAMPLES, ["sample_id", "question"])
            questions |= {(dataset, row.sample_id): row.question for row in table.itertuples()}
        kinds = [" ".join(questions[sample].split()[:WORDS_OF_A_KIND]) for sample in profile.samples]
        self._tables: dict[tuple, int] = {}
        self.kind = np.array([f"{dataset}: {kind}" for dataset, kind in zip(self.dataset, kinds, strict=True)])

    def run(self, controllers: list[str], budgets: list[str], folds: int) -> None:
        import torch

        images = np.unique(self.image)
        fold_of = dict(zip(images, np.random.default_rng(0).permutation(len(images)) % folds, strict=True))
        fold = np.array([fold_of[image] for image in self.image])
        everything, tolerance = np.full(len(fold), "all"), self.settings.lookup.tolerance
        tables = {
            "lookup-mean": (self.dataset, tolerance),
            "lookup-mean without tolerance": (self.dataset, 0.0),
            "one lookup-mean for all datasets": (everything, tolerance),
            "lookup by kind of question": (self.kind, tolerance),
        }
        names = [*tables, "oracle of the tier", "oracle", *controllers]
        chosen = {(name, budget): np.zeros(len(fold), dtype=int) for name in names for budget in budgets}
        budget_ms = {text: self._budget_ms(text) for text in budgets}
        for number in range(folds):
            learn, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            for text in budgets:
                ms = budget_ms[text][test]
                for name, (group, allowed) in tables.items():
                    chosen[name, text][test] = self._lookup(learn, test, ms, group, allowed)
                chosen["oracle", text][test] = self._oracle(test, ms)
                tier_of = chosen["lookup-mean", text][test]
                chosen["oracle of the tier", text][test] = self._oracle(test, ms, same_depth_as=tier_of)
            for name in controllers:
                log_probs = self._train(name, learn.tolist())
                for text in budgets:
                    of_budget = log_probs(
                        torch.from_numpy(test), torch.from_numpy(budget_ms[text][test]).float()[:, None]
                    )
                    chosen[name, text][test] = of_budget[:, 0].numpy()
        for text in budgets:
            self._print(text, names, {name: chosen[name, text] for name in names}, budget_ms[text])

    def _budget_ms(self, text: str) -> np.ndarray:
        return np.array([Budget.parse(text).to_ms(self.reference_ms[dataset]) for dataset in self.dataset])

    def _lookup(
        self, learn: np.ndarray, test: np.ndarray, budget_ms: np.ndarray, group: np.ndarray, tolerance: float
    ) -> np.ndarray:
        """A table of means per group; a group of few samples uses its dataset's."""
        result = np.zeros(len(test), dtype=int)
        for row, (index, ms) in enumerate(zip(test, budget_ms, strict=True)):
            members = learn[group[learn] == group[index]]
            if len(members) < FEWEST_OF_A_KIND:
                members = learn[self.dataset[learn] == self.dataset[index]]
            key = (group[index], self.dataset[index], ms, tolerance, len(members), int(members[0]))
            if key not in self._tables:
                accuracy, latency_ms = self.accuracy[members].mean(axis=0), self.latency_ms[members].mean(axis=0)
                met = latency_ms <= ms * (1 + tolerance)
                best = np.lexsort((latency_ms, -np.where(met, accuracy, -1.0)))[0]
                self._tables[key] = best if met.any() else latency_ms.argmin()
            result[row] = self._tables[key]
        return result

    def _oracle(self, test: np.ndarray, budget_ms: np.ndarray, same_depth_as: np.ndarray | None = None) -> np.ndarray:
        latency_ms = self.latency_ms[test]
        if same_depth_as is not None:
            depths = self.accuracy.shape[1] // len(self.grid.tiers)
            latency_ms = np.where(
                np.arange(self.accuracy.shape[1]) % depths == same_depth_as[:, None] % depths, latency_ms, np.inf
            )
        met = latency_ms <= budget_ms[:, None] * (1 + self.settings.lookup.tolerance)
        accuracy = np.where(met, self.accuracy[test], -1.0)
        return np.where(accuracy == accuracy.max(axis=1, keepdims=True), latency_ms, np.inf).argmin(axis=1)

    def _train(self, name: str, learn: list[int]):
        """Trains on these rows of the profile; returns choices for any rows and budgets."""
        import torch

        from adamolmo.controllers.single_stage import SingleStagePolicy
        from adamolmo.controllers.training import grpo
        from adamolmo.controllers.training.learned import with_prior
        from adamolmo.controllers.training.table_prior import ProfilePrior
        from adamolmo.controllers.two_stage import STAGE_1, TwoStagePolicy

        data, training = self.data, self.settings.training
        torch.manual_seed(self.settings.seed)
        architecture = data.sizes | {"mobilevit": training.mobilevit.model_dump()}
        policy = (TwoStagePolicy if name in STAGE_1 else SingleStagePolicy)(name, architecture, self.grid)
        rows = torch.tensor(learn)
        inner = grpo.Split.by_image([data.profile.images[row] for row in learn], training.held_out, self.settings.seed)
        split = grpo.Split(rows[inner.learned], rows[inner.held_out])
        policy.fit(data, split.learned)
        scale_ms = data.profile.latency_ms[:, -1].median().item()

        prior = ProfilePrior.of(data.profile, split.learned, training)
        log_probs = with_prior(policy, data, prior, scale_ms)
        log = grpo.train(policy, log_probs, prior, data.profile, split, self.grid, training, self.settings.seed, name)
        best = log.loc[log["held_out_reward"].idxmax()]
        print(
            f"{name}: {log['step'].iloc[-1]:.0f} steps, best at {best['step']:.0f}, {best['held_out_reward']:.4f}",
            flush=True,
        )

        @torch.no_grad()
        def choose(rows, budget_ms):
            parts = zip(rows.split(64), budget_ms.split(64), strict=True)
            return torch.cat([grpo.choices(log_probs(*part), self.grid) for part in parts])

        return choose

    def _print(self, text: str, names: list[str], chosen: dict[str, np.ndarray], budget_ms: np.ndarray) -> None:
        rows = np.arange(len(self.image))
        base = self.accuracy[rows, chosen["lookup-mean"]]
        print(f"\n{text}\n| | accuracy | difference, points | violations, % | latency / budget |\n|{' --- |' * 5}")
        for name in names:
            own, ms = self.accuracy[rows, chosen[name]], self.latency_ms[rows, chosen[name]]
            gain = paired_bootstrap(own, base, self.image, resamples=1000)
            points = f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
            late, share = 100 * (ms > budget_ms).mean(), (ms / budget_ms).mean()
            print(f"| {name} | {own.mean():.3f} | {points} | {late:.1f} | {share:.3f} |")


if __name__ == "__main__":
    run(main)
