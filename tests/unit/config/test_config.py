"""The configuration: what is accepted, what a fault is called, and which settings a job sees."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from adamolmo.config import StudyConfig
from adamolmo.errors import AdaMolmoError
from adamolmo.knobs import KnobConfig

CONFIG = Path(__file__).parents[3] / "config.yaml"


@pytest.fixture
def raw() -> dict:
    return yaml.safe_load(CONFIG.read_text())


def changed(raw: dict, key: str, value) -> dict:
    """`raw` with the dotted key set (or removed, for the value `...`)."""
    result = copy.deepcopy(raw)
    *parents, last = key.split(".")
    section = result
    for parent in parents:
        section = section[parent]
    if value is ...:
        del section[last]
    else:
        section[last] = value
    return result


def test_the_shipped_configuration():
    study = StudyConfig.load(CONFIG)
    assert study.knobs.grid.full == KnobConfig("high", 8, 16)
    assert len(set(study.knobs.grid.configs)) == 75
    assert study.knobs.grid.configs[0] == KnobConfig("low", 1, 12)
    assert list(study.knobs.tier_arguments) == ["low", "medium", "high"]
    assert study.knobs.tier_arguments["low"] == {"min_crops": 1, "max_crops": 1}


def test_the_study_on_molmoe():
    study = StudyConfig.load(CONFIG, CONFIG.parent / "config" / "molmoe-1b.yaml")
    assert len(study.knobs.grid.configs) == 75
    assert study.knobs.tier_arguments["high"] == {"min_crops": 1, "max_crops": 12}
    assert {dataset.source for dataset in study.datasets.values()} == {"hub"}
    more = StudyConfig.load(
        CONFIG, *(CONFIG.parent / "config" / name for name in ("molmoe-1b.yaml", "more-datasets.yaml"))
    )
    assert len(more.datasets) == 7
    part = StudyConfig.from_subset(more.subset("seed", "datasets.tally_qa"))
    assert part.datasets["tally_qa"].columns.question == "qa.question"
    assert part.datasets["tally_qa"].splits.profile == "test"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("budgts", [], "key 'budgts' is unknown; did you mean 'budgets'?"),
        ("knobs.topk", 3, "key 'knobs.topk' is unknown; did you mean 'top_k'?"),
        ("datasets.okvqa.styl", "x", "key 'datasets.okvqa.styl' is unknown; did you mean 'style'?"),
        ("bootstrap.zzz", 1, "key 'bootstrap.zzz' is unknown; expected one of resamples."),
        ("samples.profile", ..., "key 'samples.profile' is missing; expected samples of core_exp"),
        ("datasets", ..., "key 'datasets' is missing"),
        ("samples.profile", "many", "key 'samples.profile' is \"many\"; expected a valid integer."),
        ("samples.profile", 0, "key 'samples.profile' is 0; expected at least 1."),
        ("samples.profile", True, "key 'samples.profile' is true; expected a valid integer."),
        ("latency.samples", "some", "'some' is neither a whole number from 1 to 10000000 nor 'all'"),
        ("latency.clock", "wall", "key 'latency.clock' is \"wall\"; expected 'measured' or 'modelled'."),
        ("budgets", ["60s"], "key 'budgets[0]': '60s' is not a budget"),
        ("budgets", ["60pct", "50.0pct"], "key 'budgets[1]': '50.0pct' is not a budget"),
        (
            "budgets",
            [60],
            "key 'budgets[0]': '60' is not a budget; expected a positive number with its unit: '60pct' or '170ms', or "
            "with a promise behind it: '60pct-p95' (or p90, p99) or '60pct-mean'; up to a million.",
        ),
        ("budgets", ["60pct-p50"], "key 'budgets[0]': '60pct-p50' is not a budget"),
        (
            "training.budgets",
            ["35pct", "110pct-p95"],
            "key 'training.budgets[1]': '110pct-p95' promises something of many requests; expected a budget of one",
        ),
        ("budgets", ["60pct", "60pct"], "key 'budgets': the list names '60pct' twice"),
        ("controllers", ["oracle"], "controllers names the oracle alone, which answers no requests"),
        ("controllers", [], "key 'controllers': the list is empty"),
        ("knobs.top_k", [8, 4], "key 'knobs.top_k': [8, 4] is not a list of different numbers in ascending order"),
        ("knobs.tiers.low.max_crops", 4, "tiers 'low' and 'medium' are alike"),
        ("knobs.tiers.high.min_crops", 17, "min_crops 17 is above max_crops 16"),
        ("knobs.num_active_blocks", [2, 16], "knobs.num_active_blocks has 2, below model.fixed_prefix_layers 3"),
        ("importance.tier", "hihg", "importance.tier is 'hihg'; expected one of knobs.tiers: low, medium, high."),
        ("datasets.okvqa.source", "hub", "source 'hub' needs the key 'path'"),
        ("datasets.okvqa.path", "lab/okvqa", "source 'procedural' has no 'path' or 'config'"),
        ("datasets.okvqa.columns", {"anwsers": "a"}, "'datasets.okvqa.columns.anwsers' is unknown; did you mean 'answ"),
        ("datasets.okvqa.scorer", "bleu", "expected 'vqa', 'anls', 'multiple_choice' or 'count'."),
        ("datasets.okvqa.scorer", "multiple_choice", "'multiple_choice' and columns.options are not; expected"),
        ("datasets.okvqa.columns", {"options": "choices"}, "scorer is 'vqa' and columns.options are set; expected"),
        ("datasets.okvqa.columns", {"options": ["A", "B"]}, "scorer is 'vqa' and columns.options are set; expected"),
        ("datasets.all", {}, "'all' is the study's own name for everything together; expected another"),
        ("datasets.scores", {}, "'scores' is the study's own name for the ranking of the blocks"),
        ("knobs.tiers.all", {"min_crops": 1, "max_crops": 2}, "'all' is the study's own name"),
        ("own_controllers.oracle", {"module": "x.py"}, "neither 'oracle' nor 'static-...'"),
        ("own_controllers.p/q", {"module": "x.py"}, "'p/q' is not a name for a controller"),
        ("lmms_eval.tasks.summary_parquet/x", {}, "is not the name of a task"),
        ("datasets.OK", {}, "'OK' is not a name; expected lower-case letters, digits and underscores"),
        ("datasets", 3, "key 'datasets' is 3; expected a valid dictionary."),
        ("seed", 2**64, "key 'seed' is 18446744073709551616; expected at most 4294967295."),
        pytest.param(
            "seed", 10**5000, "key 'seed' is a int that is too long to show; expected ", id="seed-5000-digits"
        ),
        ("seed", -1, "key 'seed' is -1; expected at least 0."),
        ("samples.profile", 10**9, "expected at most 10000000."),
        ("samples.profile", "٣", "expected a valid integer."),
        ("latency.samples", 2**70, "is neither a whole number from 1 to 10000000 nor 'all'"),
        ("core_exp.shards", 100_000_000, "key 'core_exp.shards' is 100000000; expected at most 10000."),
        ("knobs.top_k", [1, 10**9], "key 'knobs.top_k[1]' is 1000000000; expected at most 10000."),
        ("knobs.top_k", list(range(1, 2000)), "expected "),
        ("knobs.num_active_blocks", list(range(3, 1000)), "the knobs have 14955 configurations; expected 10000 at mo"),
        ("lookup.tolerance", float("inf"), "key 'lookup.tolerance' is Infinity; expected a finite number."),
        ("lookup.tolerance", float("nan"), "key 'lookup.tolerance' is NaN; expected a finite number."),
        ("lookup.tolerance", 10**400, "key 'lookup.tolerance' is "),
        ("training.reward.gamma", float("inf"), "expected a finite number."),
        ("training.learning_rate", 1e300, "expected at most 1000000"),
        ("training.held_out", float("nan"), "expected a finite number."),
        (
            "training.budgets",
            ["110pct", "35pct"],
            "training.budgets goes from 110pct to 35pct; expected the lowest fir",
        ),
        ("budgets", ["9" * 400 + "pct"], "99...' is not a budget"),
        ("budgets", ["0." + "1" * 400 + "pct"], "11...' is not a budget"),
        ("budgets", ["٦٠pct"], "'٦٠pct' is not a budget"),
        ("budgets", ["1000001ms"], "'1000001ms' is not a budget"),
        ("budgets", [f"{n}ms" for n in range(1, 1500)], "expected "),
        ("datasets." + "a" * 300, {}, "aaa...' is not a name"),
        ("datasets.okvqa.columns", {"answers": ""}, "is not a text of 1 to 4096 printable characters"),
        ("datasets.okvqa.columns", {"answers": "a\x1b[31m"}, r"'a\x1b[31m' is not a text of 1 to 4096 printable char"),
        ("datasets.okvqa.columns", {"options": ["A", "A"]}, "'['A', 'A']' names a column twice"),
        ("datasets.okvqa.columns", {"options": []}, "'[]' is neither a column nor a list of columns"),
        ("datasets.okvqa.columns", {"options": [1]}, "'[1]' is neither a column nor a list of columns"),
        ("datasets.okvqa.columns", {"image": "i/{id}.png"}, "source 'procedural' holds the images themselves"),
        ("datasets.okvqa.samples", {"train": 3}, "samples.train' is unknown; expected one of importance, profile"),
        ("datasets.okvqa.samples", {"profile": 0}, "samples.profile' is 0; expected at least 1."),
        ("datasets.okvqa.source", "jsonl", "expected 'procedural', 'hub', 'parquet', 'csv', 'json' or 'arrow'."),
        ("model.checkpoint", "x" * 5000, "is not a text of 1 to 4096 printable characters"),
        ("lmms_eval.tasks.x$(touch y)", {}, "'x$(touch y)' is not the name of a task"),
        (
            "lmms_eval.tasks",
            {name: {"profile": "okvqa", "style": None, "metric": "accuracy"} for name in ("mme", "MME")},
            "the names 'mme' and 'MME' differ in their case alone",
        ),
    ],
)
def test_a_fault_is_one_sentence(raw, key, value, sentence):
    with pytest.raises(AdaMolmoError) as error:
        StudyConfig.from_dict(changed(raw, key, value), {str(CONFIG): raw})
    text = str(error.value)
    assert text.startswith(f"{CONFIG}: ")
    assert sentence in text
    assert "\n" not in text


def test_a_dataset_may_have_numbers_of_samples_of_its_own(raw):
    study = StudyConfig.from_dict(changed(raw, "datasets.okvqa.samples", {"profile": 7}), {})
    assert study.number_of_samples("okvqa", "profile") == 7
    assert study.number_of_samples("okvqa", "evaluation") == study.samples.evaluation
    assert study.number_of_samples("text_vqa", "profile") == study.samples.profile
    part = StudyConfig.from_subset(study.subset("samples.importance", "datasets.okvqa.samples"))
    assert part.number_of_samples("okvqa", "importance") == study.samples.importance


def test_a_study_that_no_planner_can_hold_is_refused(raw):
    large = changed(raw, "core_exp.shards", 10_000)
    large["datasets"] |= {f"d{i}": raw["datasets"]["okvqa"] for i in range(20)}
    with pytest.raises(AdaMolmoError, match=r"makes 144\d+ jobs; expected 200000 at most"):
        StudyConfig.from_dict(large, {})


def test_several_faults_are_counted(raw):
    with pytest.raises(AdaMolmoError, match=r"'budgts'.*\(1 more fault.\)"):
        StudyConfig.from_dict(changed(changed(raw, "budgts", []), "topk", 1), {})


def test_later_files_override_single_keys_and_remove_entries(tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("samples: {profile: 7}\nknobs: {tiers: {medium: null}}\ndatasets: {okvqa: null}\n")
    base, study = StudyConfig.load(CONFIG), StudyConfig.load(CONFIG, other)
    assert study.samples.profile == 7
    assert study.samples.evaluation == base.samples.evaluation
    assert list(study.knobs.tiers) == ["low", "high"]
    assert list(study.datasets) == ["text_vqa", "coco_2014_vqa", "easy_vqa"]


def test_the_fault_names_the_file_that_has_it(raw, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("latency: {clock: wall}\n")
    with pytest.raises(AdaMolmoError, match=rf"^{other}: key 'latency.clock'"):
        StudyConfig.load(CONFIG, other)
    other.write_text("seed: 1\n")
    broken = tmp_path / "broken.yaml"
    broken.write_text(yaml.safe_dump(changed(raw, "latency.clock", "wall"), sort_keys=False))
    with pytest.raises(AdaMolmoError, match=rf"^{broken}: key 'latency.clock'"):
        StudyConfig.load(broken, other)


@pytest.mark.parametrize("content", ["a: [1", "- 1", ""])
def test_unreadable_file(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(AdaMolmoError, match=rf"^{path}: "):
        StudyConfig.load(path)


def test_absent_file(tmp_path):
    with pytest.raises(AdaMolmoError, match=r"absent.yaml: cannot be read as YAML"):
        StudyConfig.load(tmp_path / "absent.yaml")


def test_a_subset_holds_only_its_keys(raw):
    study = StudyConfig.from_dict(raw, {})
    keys = ["seed", "knobs", "samples.profile", "datasets.okvqa"]
    text = study.subset(*keys)
    assert text == study.subset(*reversed(keys))
    more = StudyConfig.from_dict(changed(raw, "budgets", ["61pct"]), {})
    assert more.subset(*keys) == text
    assert StudyConfig.from_dict(changed(raw, "samples.profile", 9), {}).subset(*keys) != text
    part = StudyConfig.from_subset(text)
    assert part.knobs.grid.full == study.knobs.grid.full
    assert list(part.knobs.tiers) == ["low", "medium", "high"]
    assert part.datasets["okvqa"].style == "okvqa"
    assert part.samples.profile == study.samples.profile
    with pytest.raises(AttributeError):
        _ = part.samples.evaluation
    with pytest.raises(AttributeError):
        _ = part.budgets


def test_reading_the_configuration_loads_no_heavy_library():
    check = "import sys, adamolmo.config; print({'torch', 'pandas', 'pyarrow', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True).stdout.strip() == "set()"


def test_tiers_are_ordered_by_their_crops(tmp_path):
    override = tmp_path / "override.yaml"
    override.write_text("knobs: {tiers: {low: {max_crops: 20}, tiny: {min_crops: 1, max_crops: 2}}}")
    study = StudyConfig.load(CONFIG, override)
    assert list(study.knobs.tiers) == ["tiny", "medium", "high", "low"]
    assert study.knobs.grid.full.tier == "low"


def test_a_drawn_dataset_is_called_so_unless_it_has_a_title_of_its_own(raw):
    raw["datasets"] = {
        "okvqa": {"source": "procedural", "style": None, "scorer": "vqa"},
        "text_vqa": {"source": "procedural", "style": None, "scorer": "vqa", "title": "Signs"},
        "mine": {"source": "parquet", "path": "mine.parquet", "style": None, "scorer": "vqa"},
    }
    titles = {"okvqa": "okvqa (drawn)", "text_vqa": "Signs", "mine": "mine"}
    assert StudyConfig.from_dict(raw, {"mine.yaml": raw}).titles == titles
    raw["datasets"]["mine"]["title"] = "Signs"
    with pytest.raises(AdaMolmoError, match="datasets: 2 have the title 'Signs'; expected another one for each"):
        StudyConfig.from_dict(raw, {"mine.yaml": raw})


@pytest.mark.parametrize("title", ["", " ", "a\nb", "\x1b[31mred", "x" * 81, "\u200b"])
def test_a_title_is_one_short_line_that_can_be_seen(raw, title):
    raw["datasets"]["okvqa"]["title"] = title
    with pytest.raises(AdaMolmoError, match="datasets.okvqa.title': .* is not a title of 1 to 80 printable characters"):
        StudyConfig.from_dict(raw, {"mine.yaml": raw})


@pytest.mark.parametrize("key", ["controllers", "lmms_eval"])
@pytest.mark.parametrize("name", ["static-huge-k8-b16", "static-high-k99-b16", "static-high-k8-b2"])
def test_a_static_controller_outside_the_grid_is_refused_before_any_work(raw, key, name):
    names = raw if key == "controllers" else raw["lmms_eval"]
    names["controllers"] = ["lookup-mean", name]
    with pytest.raises(
        AdaMolmoError, match=f"controller '{name}' is not of the knobs' grid; expected tiers low/medium"
    ):
        StudyConfig.from_dict(raw, {"mine.yaml": raw})


PROCESSOR = {"size": {"shortest_edge": 1024, "longest_edge": 4096}, "split_image": True}


def tiers_of(raw, **tiers) -> StudyConfig:
    knobs = raw["knobs"] | {"tiers": tiers}
    return StudyConfig.from_dict(raw | {"knobs": knobs, "importance": raw["importance"] | {"tier": "wide"}}, {})


def test_arguments_of_a_processor_stay_as_they_are_and_in_listed_order(raw):
    wide = {"processor": PROCESSOR}
    narrow = {"processor": {"size": {"shortest_edge": 256, "longest_edge": 1024}}}
    study = tiers_of(raw, wide=wide, narrow=narrow)
    assert list(study.knobs.tier_arguments.items()) == [("wide", PROCESSOR), ("narrow", narrow["processor"])]
    part = StudyConfig.from_subset(study.subset("knobs"))
    assert part.knobs.tier_arguments == study.knobs.tier_arguments


@pytest.mark.parametrize(
    ("tiers", "sentence"),
    [
        (
            {"wide": {"processor": PROCESSOR, "min_crops": 1, "max_crops": 2}},
            "has max_crops and min_crops and processor;",
        ),
        ({"wide": {"min_crops": 1}}, "has min_crops; expected min_crops and max_crops, or processor"),
        ({"wide": {}}, "has nothing; expected min_crops and max_crops, or processor"),
        ({"wide": {"processor": PROCESSOR}, "low": {"min_crops": 1, "max_crops": 2}}, "expected one kind"),
        ({"wide": {"processor": PROCESSOR}, "same": {"processor": PROCESSOR}}, "'wide' and 'same' are alike"),
    ],
)
def test_a_tier_is_a_range_of_crops_or_arguments_of_a_processor(raw, tiers, sentence):
    with pytest.raises(AdaMolmoError, match=sentence):
        tiers_of(raw, **tiers)
