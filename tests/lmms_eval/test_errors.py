"""Bad input: one sentence, at once."""

import shutil

import pytest

from adamolmo.errors import AdaMolmoError

pytest.importorskip("lmms_eval", reason="lmms-eval is not installed (make test-lmms-eval)")

import datasets
from fabricated import write_hub
from lmms_eval.api.instance import Instance
from PIL import Image

from adamolmo.lmms_eval.command_line import CommandLineModel, ModelArguments
from adamolmo.lmms_eval.data import find_prepared, prepare, task_data
from adamolmo.lmms_eval.model import AdaMolmo, cut
from adamolmo.lmms_eval.run import run_task
from adamolmo.lmms_eval.stock import find_task
from adamolmo.statistics.intervals import Resampling


@pytest.fixture
def no_waiting(monkeypatch):
    """Any pause, such as the ones between lmms-eval's attempts, fails the test."""

    def sleep(seconds):
        raise AssertionError(f"slept {seconds} s")

    monkeypatch.setattr("time.sleep", sleep)


@pytest.fixture
def model(bench):
    return bench.model("static-full", "60pct")


def test_missing_data(model, tmp_path, no_waiting):
    with pytest.raises(AdaMolmoError, match="mme: task 'mme' has no prepared data; run `snakemake lmms_eval_data`"):
        run_task(model, "mme", tmp_path, None, Resampling(10))


def test_missing_data_online(model, no_waiting, monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionError("Couldn't reach 'lmms-lab-encoder/MME' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(AdaMolmoError, match="task 'mme': its data lmms-lab-encoder/MME cannot be had .ConnectionError"):
        run_task(model, "mme", None, None, Resampling(10))


def test_data_of_another_task(model, unscored, tmp_path):
    shutil.copytree(unscored.path / "pope", tmp_path / "mme")
    with pytest.raises(AdaMolmoError, match="holds the data of task 'pope'; expected 'mme'"):
        run_task(model, "mme", tmp_path, None, Resampling(10))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("textvqa_vall", "task 'textvqa_vall' is unknown to lmms-eval; did you mean 'textvqa_val'"),
        ("no such thing at all", "is unknown to lmms-eval; `python -m lmms_eval --tasks list`"),
        ("mmbench_en", "'mmbench_en' is a group of lmms-eval's tasks"),
    ],
)
def test_unknown_task(name, sentence):
    with pytest.raises(AdaMolmoError, match=sentence):
        find_task(name)


@pytest.mark.parametrize("name", ["mmbench_en_dev", "mmbench_en_dev_static", "scienceqa_img", "gqa", "chartqa"])
def test_other_stock_tasks_are_found(name):
    assert find_task(name).is_file()


def test_unknown_controller(bench):
    with pytest.raises(AdaMolmoError, match="controller 'lookup-meen' is unknown; did you mean 'lookup-mean'"):
        bench.model("lookup-meen", "60pct")


def test_half_a_pair_of_mme(model, unscored):
    with pytest.raises(AdaMolmoError, match="task 'mme': 1 document.s. with category 'count', question_id '0001.png'"):
        run_task(model, "mme", unscored.path, 3, Resampling(10))
    assert model.answers == {}, "the documents were answered before the pairs were checked"


def test_score_by_a_service(model, unscored):
    with pytest.raises(AdaMolmoError, match="is scored by a service on the network; expected 'mmbench_en_dev_static'"):
        run_task(model, "mmbench_en_dev", unscored.path, None, Resampling(10))


def test_column_that_the_task_needs(model, tmp_path, no_waiting):
    write_hub(tmp_path / "hub")
    path = tmp_path / "hub/lmms-lab-encoder/POPE/data/test-00000-of-00001.parquet"
    datasets.Dataset.from_parquet(str(path)).remove_columns("answer").to_parquet(path)
    prepare("pope", tmp_path / "hub", tmp_path / "pope")
    with pytest.raises(AdaMolmoError, match="task 'pope': its documents do not fit its code: column 'answer'"):
        run_task(model, "pope", tmp_path, None, Resampling(10))


def test_no_copy_of_the_repository(tmp_path):
    with pytest.raises(AdaMolmoError, match="hub/lmms-lab-encoder/MME: does not exist; expected a copy of the Hub's"):
        prepare("mme", tmp_path / "hub", tmp_path / "mme")


def test_wrong_split(tmp_path):
    write_hub(tmp_path / "hub")
    folder = tmp_path / "hub/lmms-lab-encoder/MME/data"
    (folder / "test-00000-of-00001.parquet").rename(folder / "train-00000-of-00001.parquet")
    with pytest.raises(AdaMolmoError, match="task 'mme': split 'test' of .*MME cannot be had"):
        prepare("mme", tmp_path / "hub", tmp_path / "mme")


def test_prepared_again_after_a_change(bench, tmp_path):
    """Nothing is answered from the cache of the datasets library."""
    for said in ("seven", "eight"):
        write_hub(tmp_path / "hub", {("textvqa_val", 5): said})
        prepare("textvqa_val", tmp_path / "hub", tmp_path / "textvqa_val")
        documents = datasets.load_from_disk(str(find_prepared(tmp_path, "textvqa_val") / "documents"))["validation"]
        assert documents[5]["answers"] == [said] * 10


def test_nothing_connects(tmp_path):
    import requests

    with task_data(tmp_path), pytest.raises(requests.ConnectionError, match="the network is not used"):
        requests.get("http://127.0.0.1:9", timeout=5)


@pytest.mark.parametrize("visuals", [[], [Image.new("RGB", (8, 8))] * 2, ["film.mp4"]])
def test_not_one_image(bench, visuals):
    model = bench.model("static-full", "60pct")
    model.task_dict = {"films": {"test": [None]}}
    arguments = ("what ?", {}, lambda document: visuals, 0, "films", "test")
    request = Instance("generate_until", arguments, 0, {"task": "films", "doc_id": 0, "repeats": 1})
    with pytest.raises(AdaMolmoError, match="task 'films': document 0 has .*; AdaMolmo answers questions about one"):
        model.generate_until([request])


@pytest.mark.parametrize("doc_id", [0, 7])
def test_too_long_a_question_is_named(bench, doc_id):
    """As the first request it is what warms up as well."""
    model = bench.model("static-full", "60pct")
    model.task_dict = {"films": {"test": [None] * 8}}
    visuals = [Image.new("RGB", (60, 60))]
    questions = dict.fromkeys(range(8), "what ?") | {doc_id: " ".join(["red"] * 480)}
    requests = [
        Instance(
            "generate_until",
            (question, {}, lambda document: visuals, number, "films", "test"),
            0,
            {"task": "films", "doc_id": number, "repeats": 1},
        )
        for number, question in questions.items()
    ]
    with pytest.raises(AdaMolmoError, match=f"^task 'films': document {doc_id}: the prompt has 5.. tokens with those"):
        model.generate_until(requests)


@pytest.mark.parametrize(
    ("until", "expected"),
    [(None, "yes. ASSISTANT: no"), (["ASSISTANT:"], "yes."), (".", "yes"), (["", "x"], "yes. ASSISTANT: no")],
)
def test_stop_strings(until, expected):
    assert cut("yes. ASSISTANT: no", until) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pretrained=m,controller=static-full", "key 'budget' is missing"),
        ("pretrained=m,controller=static-full,budgt=1ms", "key 'budgt' is unknown; did you mean 'budget'"),
    ],
)
def test_model_arguments(text, sentence):
    with pytest.raises(AdaMolmoError, match=sentence):
        ModelArguments.parse(text)


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        ({"controller": "lookup-meen"}, {}, "error: controller 'lookup-meen' is unknown"),
        ({"budget": "200"}, {}, "error: '200' is not a budget"),
        ({"config": "nowhere.yaml"}, {}, "error: nowhere.yaml: cannot be read"),
        ({}, {"batch_size": 8}, "error: --batch_size is 8; latency is that of single requests: expected 1."),
        ({}, {"device": "cuda:0"}, "error: --device is 'cuda:0'; the study's model.device is 'cpu'"),
    ],
)
def test_the_command_line_ends_with_a_sentence(change, options, sentence):
    from mini_study import ROOT

    arguments = {"pretrained": "m", "controller": "static-full", "budget": "1ms", "config": str(ROOT / "config.yaml")}
    text = ",".join(f"{key}={value}" for key, value in (arguments | change).items())
    with pytest.raises(SystemExit) as ended:
        CommandLineModel.create_from_arg_string(text, options)
    assert str(ended.value).startswith(sentence)


def test_the_model_ranks_no_answers(bench):
    request = Instance("loglikelihood", (), 0, {"task": "ranked", "doc_id": 0, "repeats": 1})
    with pytest.raises(AdaMolmoError, match="task 'ranked' ranks given answers"):
        AdaMolmo(bench.engine, lambda task: None).loglikelihood([request])
