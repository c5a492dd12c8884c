"""What a dataset is read from is what Snakemake watches: a change of it, and nothing else, makes the samples anew."""

import os

import pytest
from hub_cache import text_vqa_rows, write_rows

TARGETS = ("--", "results/data/mine/evaluation.parquet")


def write(path, first: int) -> None:
    write_rows(path, text_vqa_rows(60, first))


def replace_by_older(path) -> None:
    write(path, 500)
    os.utime(path, (1e9, 1e9))


CHANGES = {
    "one file of another suffix": ("mine.pq", "mine.pq", replace_by_older),
    "a linked folder": ("mine", "elsewhere/part-0.parq", lambda path: write(path, 500)),
    "a file more": ("mine", "mine/val/more.parquet", lambda path: write(path, 500)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_data_is_noticed(clone, config, name):
    path, changed, change = CHANGES[name]
    write(clone.path(path) if path == "mine.pq" else clone.path("mine/a.parquet"), 0)
    if path == "mine":
        write(clone.path("elsewhere/part-0.parq"), 100)
        clone.path("mine/val").symlink_to("../elsewhere", target_is_directory=True)
    others = "text_vqa: null, okvqa: null, coco_2014_vqa: null, easy_vqa: null"
    text = f"datasets: {{{others}, mine: {{source: parquet, path: {path}, "
    small = config(text + "style: null, scorer: vqa}}\nsamples: {importance: 2, profile: 6, evaluation: 4}")
    made = clone.snakemake(*TARGETS, configs=(small,))
    assert made.returncode == 0, made.output
    if path == "mine":
        for hidden in ("_SUCCESS", ".part.parquet", "a.parquet.crc"):
            clone.path(f"mine/{hidden}").write_bytes(b"nothing")
    assert clone.snakemake("--dry-run", *TARGETS, configs=(small,)).planned == {}
    change(clone.path(changed))
    planned = clone.snakemake("--dry-run", *TARGETS, configs=(small,)).planned
    assert planned.get("prepare_data") == 1, planned
