"""Results without Snakemake's records of them are not taken for those of the present configuration."""

import shutil

import pytest

from adamolmo.errors import AdaMolmoError
from adamolmo.jobs.records import check_records, mark_results


@pytest.fixture
def folders(tmp_path):
    """Results and records of one study."""
    results, records = tmp_path / "results", tmp_path / ".snakemake"
    mark_results(results, records)
    (results / "summary.parquet").touch()
    (records / "metadata").mkdir()
    (records / "metadata" / "c3VtbWFyeQ==").touch()
    return results, records


def test_a_study_knows_its_own_results(folders):
    check_records(*folders)
    mark_results(*folders)
    check_records(*folders)


def test_nothing_made_yet(tmp_path):
    check_records(tmp_path / "results", tmp_path / ".snakemake")
    mark_results(tmp_path / "results", tmp_path / "elsewhere")
    check_records(tmp_path / "results", tmp_path / ".snakemake")  # killed before the records were marked


def test_made_before_there_were_marks(folders):
    for folder in folders:
        (folder / "study_id").unlink()
    check_records(*folders)


@pytest.mark.parametrize("marked", [True, False])
def test_results_without_records(folders, tmp_path, marked):
    results, _ = folders
    if not marked:
        (results / "study_id").unlink()
    with pytest.raises(AdaMolmoError, match="results: was not made in this folder"):
        check_records(results, tmp_path / "new")


def test_results_of_another_study(folders, tmp_path):
    results, records = folders
    mark_results(tmp_path / "other", tmp_path / "other_records")
    shutil.copytree(tmp_path / "other", results, dirs_exist_ok=True)
    with pytest.raises(AdaMolmoError, match="bring the .* that belongs to it"):
        check_records(results, records)
    mark_results(results, records)  # adopted
    check_records(results, records)


def test_results_moved_away(folders):
    results, records = folders
    shutil.rmtree(results)
    check_records(results, records)
    mark_results(results, records)
    (results / "new.json").touch()
    check_records(results, records)
