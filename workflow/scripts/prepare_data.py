"""Makes one split of one dataset as a table with images: no later job needs the network or the source."""

import json

import pandas as pd

from adamolmo.data.sources import draw_split
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import write_table
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run


def main() -> None:
    parser = job_parser(__doc__, "dataset", "settings", "output")
    parser.add_argument("--split", required=True)
    parser.add_argument("--num-samples", type=json.loads, required=True, help="split -> samples, this one's last")
    args = parser.parse_args()
    samples = draw_split(
        args.settings.datasets[args.dataset],
        args.dataset,
        args.num_samples,
        args.settings.seed,
        args.settings.samples.max_pixels,
    )
    write_table(pd.DataFrame(samples), args.output, SAMPLES, {"dataset": args.dataset, "split": args.split})


if __name__ == "__main__":
    run(main)
