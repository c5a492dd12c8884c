"""What a trained controller would have spent on held-out profiled questions under every limit: its governors' start."""

from pathlib import Path

import torch

from adamolmo.controllers.modules import load_controller
from adamolmo.controllers.policy_file import load_card
from adamolmo.controllers.training.features import Features, FixedPrefix
from adamolmo.controllers.training.grpo import Split
from adamolmo.controllers.training.rehearsal import rehearse
from adamolmo.controllers.training.reward import COLUMNS, Profile
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.core_exp import expected_latency
from adamolmo.core_exp.reading import read_profiles
from adamolmo.files.documents import write_json
from adamolmo.files.governor import ControllerResponse
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import controller_context
from adamolmo.jobs.script import run


def main() -> None:
    parser = job_parser(__doc__, "controller", "module", "model", "settings", "output")
    parser.add_argument("--core-exp", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--latency", type=Path, nargs="+", required=True, help="expected latencies, one file per dataset"
    )
    parser.add_argument("--features", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    settings, model = args.settings, args.settings.model
    core_exp, _ = read_profiles(args.core_exp, COLUMNS)
    datasets = [path.stem for path in args.features]
    contexts = {dataset: controller_context(settings, args.model, dataset) for dataset in datasets}
    fingerprint = contexts[datasets[0]].fingerprint
    expected = {path.stem: expected_latency.load(path, fingerprint.grid) for path in args.latency}
    no_budgets = dict.fromkeys(datasets, (0.0, 0.0))  # nothing is rewarded here
    data = TrainingSet.join(
        fingerprint,
        Profile.from_frame(core_exp, fingerprint.grid, no_budgets, expected),
        {path.stem: Features(path) for path in args.features},
        expected,
        FixedPrefix.load(args.model, model.fixed_prefix_layers, getattr(torch, model.dtype), model.device),
    )
    held_out = Split.by_image(data.profile.images, settings.training.held_out, settings.seed).held_out.tolist()
    overhead_ms = load_card(args.output.parent, fingerprint).overhead_ms
    responses = {}
    for dataset, context in contexts.items():
        rows = [row for row in held_out if data.places[row][0] == dataset]
        if rows:  # else its governors start as a table's do
            controller = load_controller(args.controller, args.module, context)
            responses[dataset] = rehearse(controller, data, rows, overhead_ms).to_document()
    write_json(ControllerResponse(controller=args.controller, datasets=responses), args.output)


if __name__ == "__main__":
    run(main)
