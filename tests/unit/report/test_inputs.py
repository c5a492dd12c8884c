"""Figures, tables and pages see datasets under their titles."""

from argparse import ArgumentParser

import study_data

from adamolmo.evaluation.summary import collect
from adamolmo.files.documents import write_json
from adamolmo.files.schema import write_table
from adamolmo.files.summary import SUMMARY
from adamolmo.report.inputs import add_inputs, read_inputs


def test_datasets_are_read_under_their_titles(tmp_path):
    write_table(collect(study_data.write_cells(tmp_path, ["lookup-mean"])), tmp_path / "summary", SUMMARY)
    write_json(study_data.importance_scores(), tmp_path / "scores")
    parser = ArgumentParser()
    add_inputs(parser, "summary", optional=["scores", "profile"])
    titles = '{"okvqa": "okvqa (drawn)", "text_vqa": "Signs", "coco_2014_vqa": "coco_2014_vqa"}'
    words = ["--summary", str(tmp_path / "summary"), "--scores", str(tmp_path / "scores"), "--titles", titles]
    found = read_inputs(parser.parse_args(words))
    assert found.keys() == {"summary", "scores"}
    expected = {"okvqa (drawn)", "Signs", "coco_2014_vqa"}
    assert set(found["summary"]["dataset"]) == found["scores"].datasets.keys() == expected
