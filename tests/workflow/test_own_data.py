"""Data as people have it, from the commands in docs/data.md to a cell."""

import json
import re
import sys
from pathlib import Path

import yaml
from hub_cache import picture
from mini_study import MINI, ROOT, Study, only_error

from adamolmo.config import StudyConfig
from adamolmo.data.samples import read_samples
from adamolmo.data.sources import SPLITS
from adamolmo.embedded.easy_vqa import SIZE, installed
from adamolmo.files.evaluation import EVALUATION
from adamolmo.files.schema import read_table

PAGE = (ROOT / "docs" / "data.md").read_text()
CELL = "results/eval/mine/lookup-mean/70pct"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_ten_questions_of_the_docs_become_a_cell(clone):
    """The copied block, with the small knobs and the modelled clock of the tests."""
    (commands,) = [block for block in blocks("sh") if "questions.csv" in block]
    commands = commands.replace("--configfile mine.yaml", f"--configfile {MINI} mine.yaml")
    path = str(Path(sys.executable).parent)
    run = clone.run(["bash", "-c", f'set -e; PATH="{path}:$PATH"; {commands}'])
    output, _ = run.communicate()
    assert run.returncode == 0, output
    answers, _ = read_table(clone.path(f"{CELL}.parquet"), EVALUATION)
    samples = {split: read_samples(clone.path(f"results/data/mine/{split}.parquet")) for split in SPLITS}
    assert [len(samples[split]) for split in SPLITS] == [2, 5, 3]
    assert len({sample.image for found in samples.values() for sample in found}) == 10
    assert sorted(answers["sample_id"]) == [sample.sample_id for sample in samples["evaluation"]]
    assert (answers["accuracy"] == 1).all()  # the embedded model knows these words, and the shapes are large

    _what_happens_next(clone)


def _what_happens_next(study: Study) -> None:
    def plan():
        return study.snakemake("--dry-run", "--", f"{CELL}.json", configs=("mine.yaml",))

    assert plan().planned == {}
    image = study.path("mine/images/3.png")
    before = image.read_bytes()
    image.write_bytes(picture(3, "PNG"))
    assert plan().planned["prepare_data"] == 3
    image.unlink()
    sentence = only_error(plan())
    assert (
        "1 of 10 pictures that mine/questions.csv names are not there; the first, in line 5, does not exist" in sentence
    )
    image.write_bytes(before)
    table = study.path("mine/questions.csv")
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    sentence = only_error(plan())
    assert "mine/questions.csv has 9 questions about 9 images; expected at least 2 for 'importance' + 5 for" in sentence
    assert "datasets.mine.samples say (importance : profile : evaluation share the images 1 : 6 : 3, each" in sentence


def test_easy_vqa(clone, config):
    """The fourth dataset of the default study, from its package: pictures of one split, shared out."""
    entry = StudyConfig.load(ROOT / "config.yaml").model_dump(mode="json")["datasets"]["easy_vqa"]
    only = config(yaml.safe_dump({"datasets": {"text_vqa": None, "okvqa": None, "easy_vqa": entry}}))
    splits = [f"results/data/easy_vqa/{split}.parquet" for split in SPLITS]
    made = clone.snakemake("--", *splits, configs=(only,))
    assert made.returncode == 0, made.output
    samples = {split: read_samples(clone.path(path)) for split, path in zip(SPLITS, splits, strict=True)}
    assert [len(samples[split]) for split in SPLITS] == [6, 12, 6]
    asked = {
        (question, answer) for question, answer, _ in json.loads((installed() / "test/questions.json").read_text())
    }
    for sample in sum(samples.values(), []):
        assert (sample.question, *sample.answers) in asked
        assert sample.open_image().size == SIZE
    images = [{sample.image for sample in found} for found in samples.values()]
    assert len(set.union(*images)) == sum(map(len, images))
    assert clone.plan(configs=(only,))["evaluate"]


def test_what_the_docs_show_is_a_configuration():
    entries = [yaml.safe_load(block)["datasets"] for block in blocks("yaml")]
    assert sum(map(len, entries)) >= 5
    base = StudyConfig.load(ROOT / "config.yaml").model_dump(mode="json")
    for entry in entries:
        StudyConfig.from_dict(base | {"datasets": entry}, {})
    assert yaml.safe_load((ROOT / "config.yaml").read_text())["datasets"]["easy_vqa"] == entries[0]["easy_vqa"]
