"""Makes one split of one dataset as a table with images: no later job needs the network or the source."""

from pathlib import Path

import pandas as pd

from adamolmo.data.samples import read_samples
from adamolmo.data.sources import draw_samples
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import write_table
from adamolmo.jobs.arguments import job_parser
from adamolmo.jobs.script import run


def main() -> None:
    parser = job_parser(__doc__, "dataset", "settings", "output")
    parser.add_argument("--split", required=True)
    parser.add_argument("--num-samples", type=int, required=True)
    parser.add_argument("--earlier", type=Path, nargs="*", default=[], help="splits whose pictures are not drawn again")
    args = parser.parse_args()
    samples = draw_samples(
        args.settings.datasets[args.dataset],
        args.dataset,
        args.split,
        args.num_samples,
        args.settings.seed,
        {path.stem: read_samples(path) for path in args.earlier},
        args.settings.samples.max_pixels,
    )
    write_table(pd.DataFrame(samples), args.output, SAMPLES, {"dataset": args.dataset, "split": args.split})


if __name__ == "__main__":
    run(main)
