"""A core_exp that is killed again and again ends as if nothing had happened, and repeats no finished shard."""

import os
import random
import re
import shutil
import signal
import time

TARGET = "results/core_exp/okvqa.parquet"
KILLS = 10


def shards_in(output: str) -> tuple[set[str], set[str]]:
    """Shards whose job was started, and those whose job was finished."""
    started = dict(re.findall(r"^Job (\d+): Answers of every configuration on (.*)$", output, re.MULTILINE))
    finished = re.findall(r"^Finished jobid: (\d+)", output, re.MULTILINE)
    return set(started.values()), {started[job] for job in finished if job in started}


def tables(study) -> dict[str, bytes]:
    made = study.path("results/core_exp")
    return {str(path.relative_to(made)): path.read_bytes() for path in made.rglob("*okvqa*") if path.suffix != ".tmp"}


def killed_after(process, line: int, delay_s: float) -> str:
    """All that it printed before SIGKILL, which comes so long after this line; if it prints fewer, all of it."""
    lines = []
    for printed in process.stdout:
        lines.append(printed)
        if len(lines) == line:
            time.sleep(delay_s)
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return "".join(lines)


def test_sigkill_at_random_moments(study, repetition):
    # Two shard jobs, one after the other, and a merge. A killed Snakemake leaves its lock behind, which concerns nobody
    # else here. Snakemake's own log says which job was finished.
    arguments = (
        "--rerun-incomplete",
        "--workflow-profile",
        "none",
        "--nolock",
        "--allowed-rules",
        "core_exp",
        "merge_core_exp",
        "--",
        TARGET,
    )

    def begin_anew():
        shutil.rmtree(study.path("results/core_exp"))

    begin_anew()
    undisturbed = study.snakemake(*arguments, cores=1)
    assert undisturbed.returncode == 0, undisturbed.output
    expected = tables(study)
    assert {name.split("-", 1)[0] for name in expected} == {"okvqa.parquet", "okvqa.reference.json", "accuracy/okvqa"}
    started, finished = shards_in(undisturbed.output)
    assert len(started) == 2 and started == finished
    lines = undisturbed.output.count("\n")

    moments = random.Random(repetition)
    kills, kept, finished = 0, 0, set()
    begin_anew()
    while kills < KILLS or tables(study) != expected:
        process = study.start(*arguments, cores=1)
        # Moments in what it does, not on a clock: how long an undisturbed run takes here says little of the next one.
        line = moments.randint(1, lines) if kills < KILLS else 0
        output = killed_after(process, line, delay_s=moments.uniform(0, 1))
        kills += process.returncode == -signal.SIGKILL
        again, now_finished = shards_in(output)
        assert not again & finished, "a finished shard was made again"
        kept += len(finished)
        finished |= now_finished
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, output
            assert tables(study) == expected
            if kills < KILLS:
                begin_anew()
                finished = set()
    assert kept > 0, "no kill left a finished shard behind"
