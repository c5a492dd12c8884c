"""What a request can be expected to take in every configuration, from the profile of one dataset, or of several."""

from pathlib import Path

from adamolmo.core_exp import expected_latency
from adamolmo.core_exp.reading import read_profiles
from adamolmo.files.documents import write_json
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run


def main() -> None:
    parser = job_parser(__doc__, "settings", "output")
    parser.add_argument("--core-exp", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    settings = args.settings
    profile, shared = read_profiles(args.core_exp, expected_latency.COLUMNS)
    found = expected_latency.fit(
        profile, shared, settings.knobs.grid, settings.model.fixed_prefix_layers, settings.max_new_tokens
    )
    write_json(found, args.output)


if __name__ == "__main__":
    run(main)
