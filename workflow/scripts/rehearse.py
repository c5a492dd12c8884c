"""What a trained controller would have spent on held-out profiled questions under every limit: its governors' start."""

from adamolmo.controllers.modules import load_controller
from adamolmo.controllers.policy_file import load_card
from adamolmo.controllers.training.grpo import Split
from adamolmo.controllers.training.rehearsal import rehearse
from adamolmo.files.documents import write_json
from adamolmo.files.governor import ControllerResponse
from adamolmo.files.policy import PolicyCard
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.loading import controller_context
from adamolmo.jobs.script import run
from adamolmo.jobs.training_data import add_training_data, load_training_set


def main() -> None:
    parser = job_parser(__doc__, "controller", "module", "model", "settings", "output")
    add_training_data(parser)
    args = parser.parse_args()
    settings = args.settings
    datasets = [path.stem for path in args.features]
    contexts = {dataset: controller_context(settings, args.model, dataset) for dataset in datasets}
    no_budgets = dict.fromkeys(datasets, (0.0, 0.0))  # nothing is rewarded here
    data = load_training_set(settings, args.model, args.core_exp, args.latency, args.features, no_budgets)
    held_out = Split.by_image(data.profile.images, settings.training.held_out, settings.seed).held_out.tolist()
    card = load_card(args.output.parent, contexts[datasets[0]].fingerprint, PolicyCard)
    responses = {}
    for dataset, context in contexts.items():
        rows = [row for row in held_out if data.places[row][0] == dataset]
        if rows:  # else its governors start as a table's do
            controller = load_controller(args.controller, args.module, context)
            responses[dataset] = rehearse(controller, data, rows, card.overheads_ms).to_document()
    write_json(ControllerResponse(controller=args.controller, datasets=responses), args.output)


if __name__ == "__main__":
    run(main)
