"""What an evaluation cell pays before its first answer, and what its weights cost when several cells share a node.

Starts 1, 2, ... processes at once. Each imports torch, loads the prepared model as a cell does, answers one request.
Per number of processes, medians: seconds for the imports, for loading, and for the first request, which reads the
mapped weights; the process's own memory, and its resident memory, in which what all share counts in full.

    python benchmarks/model_loading.py [--config config.yaml] [--results results] [--processes 1 2 4] [--repeats 5]

Needs the study's model.
"""

import multiprocessing
import time
from pathlib import Path
from statistics import median

from arguments import study_parser, write_record

from adamolmo.config import StudyConfig
from adamolmo.jobs.loading import study_device
from adamolmo.jobs.script import run

COLUMNS = {"import_s": ".2f", "load_s": ".3f", "first_answer_s": ".2f", "own_mb": ".0f", "resident_mb": ".0f"}


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4], help="numbers of processes at once")
    parser.add_argument("--repeats", type=int, default=5, help="new processes per number and place")
    args = parser.parse_args()
    settings, model = StudyConfig.load(*args.config), args.results / "model"
    print(f"| processes | {' | '.join(COLUMNS)} |")
    print("|---" * (1 + len(COLUMNS)) + "|")
    rows = [start_together(settings, model, number, args.repeats) for number in args.processes]
    weights_mb = sum(file.stat().st_size for file in model.glob("*.safetensors")) / 1e6
    print(f"weights: {weights_mb:.0f} MB")
    record = {"device": study_device(settings, model), "weights_mb": weights_mb, "rows": rows}
    write_record(record, args.output)


def start_together(settings: StudyConfig, model: Path, number: int, repeats: int) -> dict[str, float]:
    """Medians over all processes of all repeats; each repeat starts `number` new ones."""
    measured = []
    for _ in range(repeats):
        with multiprocessing.get_context("spawn").Pool(number, maxtasksperchild=1) as pool:
            measured += pool.starmap(load_and_answer, number * [(settings, model)], chunksize=1)
    row = {name: median(one[name] for one in measured) for name in COLUMNS}
    print(f"| {number} | {' | '.join(f'{row[name]:{form}}' for name, form in COLUMNS.items())} |", flush=True)
    return {"processes": number, **row}


def load_and_answer(settings: StudyConfig, model: Path) -> dict[str, float]:
    """In a new process, which has not imported torch yet."""
    moments = [time.perf_counter()]
    import torch

    from adamolmo.data.procedural import scene
    from adamolmo.inference.controller import FixedController, Limit
    from adamolmo.jobs.loading import load_engine

    torch.set_num_threads(1)
    moments.append(time.perf_counter())
    engine = load_engine(settings, model)
    moments.append(time.perf_counter())
    drawn = scene("text_vqa", "benchmark", 0)
    controller = FixedController(settings.knobs.grid.full)
    engine.answer(drawn.image, drawn.questions[0].text, "text_vqa", controller, Limit())
    moments.append(time.perf_counter())
    times = [after - before for before, after in zip(moments, moments[1:], strict=False)]
    return dict(zip(COLUMNS, [*times, *memory_mb()], strict=True))


def memory_mb() -> tuple[float, float]:
    """Memory of this process alone, and all that is resident for it."""
    fields = dict(line.split(":") for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    kilobytes = {name: int(value.split()[0]) for name, value in fields.items()}
    own = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return own / 1e3, kilobytes["Rss"] / 1e3


if __name__ == "__main__":
    run(main)
