"""The study as one archive: it says what it is, finds any change, and runs again to the same bytes."""

import json
import zipfile
from pathlib import Path

import pytest

from adamolmo.cli import main
from adamolmo.errors import AdaMolmoError
from adamolmo.study import bundle
from adamolmo.study.bundle import run_again, verify_bundle, write_bundle

TABLES = (".parquet", ".json", ".safetensors", ".csv", ".tex", ".md")

pytest.importorskip("rocrate", reason="rocrate is not installed")


@pytest.fixture(scope="module")
def archive(finished, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "study.zip"
    main(["bundle", str(path), "--study", str(finished.directory), "--code", str(finished.repository)])
    return path


def altered(archive: Path, target: Path, changes: dict[str, bytes | None]) -> Path:
    """A copy in which some files have other content, or are left out (None)."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = changes.get(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
        for name in changes.keys() - set(old.namelist()):
            new.writestr(name, changes[name])
    return target


def test_the_archive_is_a_crate_that_describes_its_files(archive, finished):
    with zipfile.ZipFile(archive) as content:
        entities = {entity["@id"]: entity for entity in json.loads(content.read("ro-crate-metadata.json"))["@graph"]}
        assert "torch==" in content.read("packages.txt").decode()
        names = {name for name in content.namelist() if not name.endswith("/")}
    assert entities["./"]["mainEntity"] == {"@id": "code/Snakefile"}
    assert "ComputationalWorkflow" in entities["code/Snakefile"]["@type"]
    assert names - {"ro-crate-metadata.json"} <= entities.keys()
    table = entities["results/summary.parquet"]
    assert table["description"].startswith("One row per cell") and len(table["sha256"]) == 64
    (action,) = [entity for entity in entities.values() if entity["@type"] == "CreateAction"]
    assert action["instrument"] == {"@id": "code/Snakefile"}
    assert {"@id": "results/report.html"} in action["result"]


def test_any_change_is_found(archive, tmp_path, capsys):
    number = verify_bundle(archive)
    main(["verify", str(archive)])
    assert capsys.readouterr().out == f"{archive}: {number} files are as its manifest says\n"
    faults = {
        "results/summary.parquet has been changed": {"results/summary.parquet": b"better numbers"},
        "results/summary.parquet is missing": {"results/summary.parquet": None},
        "extra.txt is not its own": {"extra.txt": b"?"},
        "has no manifest-sha256.txt": {"manifest-sha256.txt": None},
    }
    for sentence, changes in faults.items():
        with pytest.raises(AdaMolmoError, match=sentence):
            verify_bundle(altered(archive, tmp_path / "altered.zip", changes))
    (tmp_path / "no.zip").write_text("no")
    with pytest.raises(AdaMolmoError, match=r"no.zip: cannot be read as a bundle"):
        verify_bundle(tmp_path / "no.zip")


def test_the_study_runs_again_to_the_same_bytes(archive, finished, tmp_path):
    """That two runs of the whole study are equal is shown here alone: a second one takes minutes."""
    number, different = run_again(archive, tmp_path / "again", cores=2)
    assert different == []
    made = {path for path in finished.path("results").rglob("*") if path.suffix in TABLES}
    assert number >= len(made) - 5  # of the model, and of the graph of the rules
    model = "results/model/model.safetensors"
    assert (tmp_path / "again/study" / model).read_bytes() == finished.path(model).read_bytes()
    with pytest.raises(AdaMolmoError, match="is not empty"):
        run_again(archive, tmp_path / "again", cores=2)


def test_large_files_are_left_out_and_named(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "LARGEST_BYTES", 5_000_000)
    left_out = write_bundle(finished.directory, finished.repository, tmp_path / "small.zip")
    assert any(name.startswith("results/model/model.safetensors (") for name in left_out)
    with zipfile.ZipFile(tmp_path / "small.zip") as content:
        assert "results/model/model.safetensors" not in content.namelist()
        assert "results/model/model.safetensors" in content.read("ro-crate-metadata.json").decode()
    verify_bundle(tmp_path / "small.zip")


def test_an_unfinished_study_is_one_sentence(clone, tmp_path):
    with pytest.raises(AdaMolmoError, match=r"configuration.json: does not exist; expected a finished study"):
        write_bundle(clone.directory, clone.repository, tmp_path / "study.zip")
