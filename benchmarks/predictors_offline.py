"""What do predictors gain on tables, mean budgets and budgets per request? From the profile alone; no model runs.

    python benchmarks/predictors_offline.py [--config config.yaml changed.yaml] [--results results]
        [--predictors predict-question predict-overview] [--folds 3] [--shuffle]

As in `controllers_offline.py` the images are split into folds; tables and predictors learn from all folds but one and
choose for that one, and what a choice brings and takes is read off the profile. It prints

- mean budgets: the accuracy at the same mean latency, over all datasets, of the best mixture of two prices for static
  tables (each dataset's own) and for the predictors, with the difference (95 % interval, paired, by image);
- budgets per request: accuracy and late requests of lookup-mean without tolerance, of lookup-mean-sized and of the
  predictors; and, so that they can be compared, the same with each budget tightened until 5 % of the requests are late.

With `--shuffle` the features are exchanged between the questions of a dataset: then nothing can be gained, and nothing
should be lost.
"""

from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from arguments import study_parser, write_record
from controllers_offline import Comparison

from adamolmo.config import StudyConfig
from adamolmo.controllers import predict
from adamolmo.controllers.choosing import best_within
from adamolmo.controllers.policy_file import load_card, load_weights
from adamolmo.controllers.registry import PREDICTORS
from adamolmo.controllers.training import outcome_trust
from adamolmo.files.policy import PredictorCard
from adamolmo.inference.device import claim_device
from adamolmo.jobs.script import run
from adamolmo.statistics.interval import Interval
from adamolmo.statistics.intervals import Resampling, clustered_bootstrap

MEANS = (0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.80)
BUDGETS = (0.45, 0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.90, 1.00)
PRICES = np.concatenate([[0.0], np.geomspace(0.003, 30, 120)])  # of the full latency, in shares of right answers
LATE = 0.05


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--predictors", nargs="+", choices=PREDICTORS, default=PREDICTORS)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--shuffle", action="store_true")
    args = parser.parse_args()
    settings = StudyConfig.load(*args.config)
    with claim_device(settings.model.device):
        judged = Judged(Comparison(settings, args.results), args.shuffle)
        judged.predict(args.predictors, args.folds)
    record = {"mean": judged.mean_budgets(), "request": judged.request_budgets()}
    write_record(record, args.output)


class Judged:
    """All questions, each with what was predicted of it by what was fitted to other images.

    Attributes:
        ms: expected, for the choices, [questions, configurations].
        table_ms: mean of the dataset, for lookup-mean, [questions, configurations].
    """

    def __init__(self, comparison: Comparison, shuffle: bool):
        self.settings, self.data = comparison.settings, comparison.data
        self.image, self.dataset = comparison.image, comparison.dataset
        self.right, self.taken_ms = comparison.accuracy, comparison.latency_ms
        self.full_ms = np.array([comparison.reference_ms[dataset] for dataset in self.dataset])[:, None]
        self.ms = self.data.profile.expected_ms.double().numpy()
        self.probability: dict[str, np.ndarray] = {}
        self.trusted: dict[str, tuple] = {}
        if shuffle:
            rng, order = np.random.default_rng(0), np.arange(len(self.image))
            for dataset in set(self.dataset):
                members = np.flatnonzero(self.dataset == dataset)
                order[members] = rng.permutation(members)
            readings = type(self.data.readings)(
                *(getattr(self.data.readings, f.name)[order] for f in fields(self.data.readings))
            )
            self.data = replace(self.data, readings=readings)

    def predict(self, names: list[str], folds: int) -> None:
        images = np.unique(self.image)
        fold_of = dict(zip(images, np.random.default_rng(0).permutation(len(images)) % folds, strict=True))
        fold = np.array([fold_of[image] for image in self.image])
        self.table, self.table_ms = np.zeros_like(self.right), np.zeros_like(self.right)
        self.gains = {name: (np.zeros((len(fold), 21)), np.zeros((len(fold), 19))) for name in names}
        for number in range(folds):
            learn, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            for dataset in set(self.dataset):
                own, of_dataset = learn[self.dataset[learn] == dataset], test[self.dataset[test] == dataset]
                self.table[of_dataset] = self.right[own].mean(axis=0)
                self.table_ms[of_dataset] = self.taken_ms[own].mean(axis=0)
            for name in names:
                with TemporaryDirectory() as directory:
                    part = take(self.data, learn)
                    target = Path(directory, name)
                    log = predict.train(
                        name, target, part, lambda controller: {}, self.settings.training, self.settings.seed
                    )
                    card = load_card(target, self.data.fingerprint, PredictorCard)
                    predictor = load_weights(target, partial(predict.Predictor, name, card.architecture))
                probability = self.probability.setdefault(name, np.zeros_like(self.right))
                probability[test] = predictions(name, predictor, self.data, test, self.table[test])
                for of_question, gain in zip(
                    self.gains[name], (predictor.trust.budgets, predictor.trust.prices), strict=True
                ):
                    of_question[test] = gain.numpy()
                t = card.training
                print(
                    f"{name}, fold {number}: {len(log)} rows, strength {t['strength']:.2f}, held-out loss "
                    f"{t['held_out_loss_of_table']:.4f} -> {t['held_out_loss']:.4f}",
                    flush=True,
                )

    def mean_budgets(self) -> dict:
        """Printed, and returned: share of the full latency -> {"tables": accuracy, predictor: {accuracy, gain}}."""
        tables = self._at_prices(self.table, self.table_ms)
        rows = {name: self._at_prices(of, self.ms, self._trust(name)) for name, of in self.probability.items()}
        print("\nMean budgets: accuracy, and points over the best mixture of tables\n")
        print(f"| mean latency | best mixture of tables | {' | '.join(rows)} |\n|{' --- |' * (len(rows) + 2)}")
        record = {}
        for target in MEANS:
            base = mixed(tables, target)
            found = {name: self._compared(mixed(points, target), base) for name, points in rows.items()}
            cells = " | ".join(map(cell, found.values()))
            print(f"| {target:.2f} | {base.mean():.3f} | {cells} |", flush=True)
            record[f"{target:.2f}"] = {"tables": float(base.mean()), **found}
        return record

    def _trust(self, name: str):
        """Whether each question is answered by its predictions at a relative budget, a relative price."""
        of_budgets, of_prices = self.gains[name]
        rows, full_ms = np.arange(len(self.ms)), self.table_ms[:, -1:]

        def trusted(budget_ms: np.ndarray, price_per_ms: np.ndarray) -> np.ndarray:
            if np.all(price_per_ms > 0):
                near = np.abs(np.log(outcome_trust.PRICES / (price_per_ms * full_ms))).argmin(axis=1)
                return of_prices[rows, near] > 0
            return of_budgets[rows, np.abs(outcome_trust.SHARES - budget_ms / full_ms).argmin(axis=1)] > 0

        return trusted

    def _choose(self, of: np.ndarray, ms: np.ndarray, budget_ms: np.ndarray, price_per_ms: np.ndarray, trusted):
        if trusted is not None:
            of = np.where(trusted(budget_ms, price_per_ms)[:, None], of, self.table)
        return best_within(of, ms, budget_ms, price_per_ms)

    def _at_prices(self, of: np.ndarray, ms: np.ndarray, trusted=None) -> list[tuple[np.ndarray, np.ndarray]]:
        """(latency as a share of the full one, accuracy), [questions] each, at every price, dearest first."""
        rows, none = np.arange(len(of)), np.full((len(of), 1), np.inf)
        chosen = [self._choose(of, ms, none, price / self.full_ms, trusted) for price in PRICES[::-1]]
        return [(self.taken_ms[rows, c] / self.full_ms[:, 0], self.right[rows, c]) for c in chosen]

    def request_budgets(self) -> dict:
        """Printed, and returned: "as they are" or tightened -> budget -> method -> {accuracy, gain, late}."""
        methods = {
            "lookup-mean, tolerance 0": (self.table, self.table_ms, None),
            "lookup-mean-sized": (self.table, self.ms, None),
            **{name: (of, self.ms, self._trust(name)) for name, of in self.probability.items()},
        }
        record = {}
        for title, allowed in (("as they are", None), (f"tightened until {LATE:.0%} are late", LATE)):
            record[title] = {}
            print(f"\nBudgets per request, {title}: accuracy (late): points over the first\n")
            print(f"| budget | {' | '.join(methods)} |\n|{' --- |' * (len(methods) + 1)}")
            for share in BUDGETS:
                found, base = {}, None
                for name, (of, ms, trusted) in methods.items():
                    own, late = self._under(of, ms, trusted, share, allowed)
                    base = own if base is None else base
                    found[name] = self._compared(own, base) | {"late": float(late)}
                print(f"| {share:.0%} | {' | '.join(map(cell, found.values()))} |", flush=True)
                record[title][f"{share:.2f}"] = found
        return record

    def _under(self, of: np.ndarray, ms: np.ndarray, trusted, share: float, allowed: float | None):
        """Accuracy [questions] and the share of late requests."""
        rows, free = np.arange(len(of)), np.zeros((len(of), 1))
        for factor in [1.0] if allowed is None else np.linspace(1.4, 0.6, 161):
            chosen = self._choose(of, ms, factor * share * self.full_ms, free, trusted)
            late = (self.taken_ms[rows, chosen] > share * self.full_ms[:, 0]).mean()
            if allowed is None or late <= allowed:
                break
        return self.right[rows, chosen], late

    def _compared(self, own: np.ndarray, base: np.ndarray) -> dict:
        gain: Interval = clustered_bootstrap(own - base, self.image, resampling=Resampling(500))
        return {"accuracy": float(own.mean()), "gain": vars(gain)}


def cell(found: dict) -> str:
    value, low, high = (100 * found["gain"][key] for key in ("value", "low", "high"))
    late = f" ({100 * found['late']:.0f} %)" if "late" in found else ""
    return f"{found['accuracy']:.3f}{late}: {value:+.1f} ({low:+.1f} to {high:+.1f})"


def take(data, rows: np.ndarray):
    """The training set of these rows."""
    readings = type(data.readings)(*(getattr(data.readings, field.name)[rows] for field in fields(data.readings)))
    places = [data.places[row] for row in rows]
    return replace(data, profile=data.profile.take(rows.tolist()), readings=readings, places=places)


def predictions(name: str, predictor, data, rows: np.ndarray, table: np.ndarray) -> np.ndarray:
    features = predict.features_of(name, data)[rows]
    with torch.no_grad():
        return predictor.eval().outcome(features, torch.from_numpy(table).float()).double().numpy()


def mixed(points: list[tuple[np.ndarray, np.ndarray]], target: float) -> np.ndarray:
    """Accuracy per question of the mixture of the two neighbouring prices between whose mean latencies the target lies,
    [questions]. The prices are chosen by latency alone."""
    latencies = [latency.mean() for latency, _ in points]
    above = next((place for place, latency in enumerate(latencies) if latency > target), len(points))
    if above in (0, len(points)):  # everything is dearer or cheaper than the target
        return points[min(above, len(points) - 1)][1]
    low, high = latencies[above - 1], latencies[above]
    share = (target - low) / (high - low)
    return (1 - share) * points[above - 1][1] + share * points[above][1]


if __name__ == "__main__":
    run(main)
