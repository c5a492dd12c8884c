"""What is there to gain on lookup-mean, and how much of it do controllers get? From the profile alone; no model runs.

    python benchmarks/controllers_offline.py [--config config.yaml changed.yaml] [--results results]
        [--controllers two-stage-language single-stage-mlp] [--budgets 45pct 60pct] [--folds 3]

The profile's images are split into folds; table and controllers learn from all folds but one and choose for that one.
Accuracy and latency of a choice are read off the profile, which knows no noise and no controller time. For every budget
it prints accuracy, difference to lookup-mean (95 % interval, paired, by image) and violation rate of

- lookup-mean; the same without tolerance, which keeps the budget as a policy must; one table for all datasets, for
  requests whose dataset nobody knows; a table for each kind of question (its first words): what wording is worth;
- the oracle, and the oracle that may only choose the tier: what is there at most;
- the controllers, trained as configured; a further file behind `--config` tries other settings of `training`.
"""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from arguments import study_parser, write_record

from adamolmo.budgets import Budget
from adamolmo.config import StudyConfig
from adamolmo.controllers.modules import controller_module, load_controller
from adamolmo.controllers.registry import CONTROLLERS, PREDICTORS
from adamolmo.controllers.table import EXPECTED_LATENCY, table_path
from adamolmo.controllers.training import grpo
from adamolmo.controllers.training.learned import with_prior
from adamolmo.controllers.training.table_prior import ProfilePrior
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.files.core_exp import Reference
from adamolmo.files.documents import read_json
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import read_table
from adamolmo.inference.device import claim_device
from adamolmo.jobs.loading import controller_context
from adamolmo.jobs.script import run
from adamolmo.jobs.training_data import load_training_set
from adamolmo.statistics.intervals import Resampling, clustered_bootstrap

WORDS_OF_A_KIND = 4
FEWEST_OF_A_KIND = 12
SAMPLES_AT_ONCE = 64

# (rows of the profile [n], their budgets in ms [n]) -> configurations of the grid [n].
Choose = Callable[[np.ndarray, np.ndarray], np.ndarray]


def main() -> None:
    parser = study_parser(__doc__)
    policies = {name: known for name, known in CONTROLLERS.items() if known.trained and name not in PREDICTORS}
    trainable = [name for name, known in policies.items() if not known.parts]
    default = ["two-stage-language", "single-stage-mlp"]
    parser.add_argument("--controllers", nargs="*", choices=trainable, default=default)
    parser.add_argument("--budgets", nargs="+", default=["40pct", "45pct", "50pct", "55pct", "60pct", "70pct", "80pct"])
    parser.add_argument("--folds", type=int, default=3)
    args = parser.parse_args()
    settings = StudyConfig.load(*args.config)
    with claim_device(settings.model.device):
        comparison = Comparison(settings, args.results)
        chosen = comparison.choices(args.controllers, args.budgets, args.folds)
    record = {text: comparison.outcomes(text, chosen[text]) for text in args.budgets}
    for text, rows in record.items():
        print_table(text, rows)
    write_record(record, args.output)


class Comparison:
    """The joined profile and features of a study, and who chooses what from them."""

    def __init__(self, settings: StudyConfig, results: Path):
        self.settings, self.results, self.grid = settings, results, settings.knobs.grid
        self.reference_ms = {
            dataset: read_json(results / "core_exp" / f"{dataset}.reference.json", Reference).median_latency_ms
            for dataset in settings.datasets
        }
        lowest, highest = (Budget.parse(text) for text in settings.training.budgets)
        budgets_ms = {dataset: (lowest.to_ms(ms), highest.to_ms(ms)) for dataset, ms in self.reference_ms.items()}
        self.data = load_training_set(
            settings,
            results / "model",
            [results / "core_exp" / f"{dataset}.parquet" for dataset in settings.datasets],
            [results / table_path(EXPECTED_LATENCY, dataset) for dataset in settings.datasets],
            [results / "features" / f"{dataset}.safetensors" for dataset in settings.datasets],
            budgets_ms,
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
        self.kind = np.array([f"{dataset}: {kind}" for dataset, kind in zip(self.dataset, kinds, strict=True)])

    def choices(
        self, controllers: Sequence[str], budgets: Sequence[str], folds: int
    ) -> dict[str, dict[str, np.ndarray]]:
        """Budget -> name -> the configuration chosen for every row of the profile, by who learned on other folds."""
        images = np.unique(self.image)
        fold_of = dict(zip(images, np.random.default_rng(0).permutation(len(images)) % folds, strict=True))
        fold = np.array([fold_of[image] for image in self.image])
        chosen = {text: defaultdict(lambda: np.zeros(len(fold), dtype=int)) for text in budgets}
        for number in range(folds):
            learn, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            choosers = self._tables_and_oracles(learn) | {name: self._train(name, learn) for name in controllers}
            for text in budgets:
                budget_ms = self._budget_ms(text)[test]
                for name, choose in choosers.items():
                    chosen[text][name][test] = choose(test, budget_ms)
        return chosen

    def _budget_ms(self, text: str) -> np.ndarray:
        return np.array([Budget.parse(text).to_ms(self.reference_ms[dataset]) for dataset in self.dataset])

    def _tables_and_oracles(self, learn: np.ndarray) -> dict[str, Choose]:
        everything, tolerance = np.full(len(self.dataset), "all"), self.settings.lookup.tolerance

        def table(group: np.ndarray, tolerance: float) -> Choose:
            return lambda test, budget_ms: self._lookup(learn, test, budget_ms, group, tolerance)

        lookup_mean = table(self.dataset, tolerance)
        return {
            "lookup-mean": lookup_mean,
            "lookup-mean without tolerance": table(self.dataset, 0.0),
            "one lookup-mean for all datasets": table(everything, tolerance),
            "lookup by kind of question": table(self.kind, tolerance),
            "oracle of the tier": lambda test, ms: self._oracle(test, ms, same_depth_as=lookup_mean(test, ms)),
            "oracle": self._oracle,
        }

    def _lookup(
        self, learn: np.ndarray, test: np.ndarray, budget_ms: np.ndarray, group: np.ndarray, tolerance: float
    ) -> np.ndarray:
        """A table of means per group; a group of few samples uses its dataset's."""
        chosen = np.zeros(len(test), dtype=int)
        for name, dataset in sorted(set(zip(group[test], self.dataset[test], strict=True))):
            here = (group[test] == name) & (self.dataset[test] == dataset)
            members = learn[group[learn] == name]
            if len(members) < FEWEST_OF_A_KIND:
                members = learn[self.dataset[learn] == dataset]
            accuracy, latency_ms = self.accuracy[members].mean(axis=0), self.latency_ms[members].mean(axis=0)
            met = latency_ms <= budget_ms[here][0] * (1 + tolerance)  # one dataset has one budget
            best = np.lexsort((latency_ms, -np.where(met, accuracy, -1.0)))[0]
            chosen[here] = best if met.any() else latency_ms.argmin()
        return chosen

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

    def _train(self, name: str, learn: np.ndarray) -> Choose:
        """A controller that was trained on these rows of the profile, as if its own time were nothing."""
        data, module, training = self.data, CONTROLLERS[name].module, self.settings.training
        profile = data.profile.take(learn.tolist())
        learned = TrainingSet.join(data.fingerprint, profile, data.stored, data.expected, data.prefix)
        with tempfile.TemporaryDirectory() as results:
            directory, train = Path(results, "controllers", name), controller_module(module).train
            log = train(name, directory, learned, lambda _: {}, training, self.settings.seed)
            Path(results, "lookup").symlink_to((self.results / "lookup").resolve())
            context = controller_context(self.settings, self.results / "model", self.dataset[0])
            context = replace(context, fingerprint=data.fingerprint, results=Path(results))
            controller = load_controller(name, module, context)
        prior = ProfilePrior.of(data.profile, torch.from_numpy(learn), training)
        log_probs = with_prior(controller.policy, data, prior, controller.scale_ms)
        best = log.loc[log["held_out_reward"].idxmax()]
        print(
            f"{name}: {log['step'].iloc[-1]:.0f} steps, best at {best['step']:.0f}, {best['held_out_reward']:.4f}",
            flush=True,
        )

        @torch.no_grad()
        def choose(rows: np.ndarray, budget_ms: np.ndarray) -> np.ndarray:
            budget = torch.from_numpy(budget_ms).float()[:, None]
            parts = zip(torch.from_numpy(rows).split(SAMPLES_AT_ONCE), budget.split(SAMPLES_AT_ONCE), strict=True)
            found = torch.cat([log_probs(part, of_part) for part, of_part in parts])
            return grpo.choices(found, self.grid)[:, 0].numpy()

        return choose

    def outcomes(self, text: str, chosen: dict[str, np.ndarray]) -> dict[str, dict]:
        """What each choice gives under this budget, by name."""
        rows, budget_ms = np.arange(len(self.image)), self._budget_ms(text)
        base = self.accuracy[rows, chosen["lookup-mean"]]
        outcomes = {}
        for name, configs in chosen.items():
            own, ms = self.accuracy[rows, configs], self.latency_ms[rows, configs]
            outcomes[name] = {
                "accuracy": float(own.mean()),
                "gain": vars(clustered_bootstrap(own - base, self.image, resampling=Resampling(1000))),
                "violation_rate": float((ms > budget_ms).mean()),
                "latency_of_budget": float((ms / budget_ms).mean()),
            }
        return outcomes


def print_table(text: str, outcomes: dict[str, dict]) -> None:
    print(f"\n{text}\n| | accuracy | difference, points | violations, % | latency / budget |\n|{' --- |' * 5}")
    for name, row in outcomes.items():
        value, low, high = (100 * row["gain"][key] for key in ("value", "low", "high"))
        print(
            f"| {name} | {row['accuracy']:.3f} | {value:+.1f} ({low:+.1f} to {high:+.1f}) "
            f"| {100 * row['violation_rate']:.1f} | {row['latency_of_budget']:.3f} |"
        )


if __name__ == "__main__":
    run(main)
