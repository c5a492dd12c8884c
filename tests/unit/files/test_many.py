"""Thousands of files in a text that fits on a command line."""

from pathlib import Path

import pytest

from adamolmo.files.many import all_of, as_one


def test_all_combinations_in_order():
    text = as_one("results/{}/{}.json", ["a", "b"], ["60pct", "0.5ms-mean"])
    assert text == "results/{a,b}/{60pct,0.5ms-mean}.json"
    names = ["a/60pct", "a/0.5ms-mean", "b/60pct", "b/0.5ms-mean"]
    assert all_of(text) == [Path(f"results/{name}.json") for name in names]


@pytest.mark.parametrize("choices", [([], ["a"]), (["a"], []), ([], [])])
def test_no_choice_is_no_file(choices):
    assert all_of(as_one("results/{}/{}.json", *choices)) == []


def test_numbers_and_a_single_file():
    assert all_of(as_one("x-{}.parquet", range(3))) == [Path("x-0.parquet"), Path("x-1.parquet"), Path("x-2.parquet")]
    assert all_of("results/summary.parquet") == [Path("results/summary.parquet")]


def test_the_largest_study_fits_on_a_command_line():
    names = [f"a_dataset_with_a_long_name_{i}" for i in range(50)]
    text = as_one("results/eval/{}/{}/{}.json", names, [f"controller-{i}" for i in range(60)], range(60))
    assert len(all_of(text)) == 180_000
    assert len(text) < 10_000  # of the kernel's 131072


def test_a_form_with_too_few_places_is_refused():
    with pytest.raises(ValueError, match="has 1 places for 2 choices"):
        as_one("results/{}.json", ["a"], ["b"])
