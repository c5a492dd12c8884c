"""A home directory that cannot be written: caches go elsewhere, and only then."""

import os
import subprocess
import sys

import pytest

from adamolmo.errors import AdaMolmoError
from adamolmo.jobs.caches import use_writable_caches

NAMES = ("XDG_CACHE_HOME", "MPLCONFIGDIR", "TRITON_HOME", "HF_HOME")
HOMES = ["/dev/null/x", "", "/proc/x"]  # below a file, none, and where nobody can make a folder


@pytest.fixture(autouse=True)
def no_caches(monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("home", HOMES)
def test_caches_move_if_the_home_cannot_be_written(tmp_path, monkeypatch, home):
    monkeypatch.setenv("HOME", home)
    monkeypatch.chdir(tmp_path)
    use_writable_caches(tmp_path / "a" / "caches")
    expected = [tmp_path / "a/caches", tmp_path / "a/caches/matplotlib", tmp_path / "a/caches"]
    assert [os.environ.get(name) for name in NAMES] == [*map(str, expected), None]
    figures = "import matplotlib.pyplot, huggingface_hub.constants as hub; print(hub.HF_HOME)"
    found = subprocess.run([sys.executable, "-c", figures], capture_output=True, text=True)
    assert (found.stdout, found.stderr) == (f"{tmp_path}/a/caches/huggingface\n", "")
    assert sorted(os.listdir(tmp_path)) == ["a"]


def test_nothing_changes_if_it_can(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    use_writable_caches(tmp_path / "caches")
    assert not any(name in os.environ for name in NAMES)
    monkeypatch.setenv("HOME", "/dev/null/x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    use_writable_caches(tmp_path / "caches")
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / "elsewhere")
    assert not (tmp_path / "caches").exists()


def test_what_was_downloaded_before_is_read_still(tmp_path, monkeypatch):
    (tmp_path / "home/.cache/huggingface").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("adamolmo.jobs.caches._is_writable", lambda path: "home" not in str(path))
    use_writable_caches(tmp_path / "caches")
    assert os.environ["HF_HOME"] == str(tmp_path / "home/.cache/huggingface")
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path / "caches")


def test_if_nothing_can_be_written_it_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/dev/null/x")
    (tmp_path / "file").touch()
    with pytest.raises(AdaMolmoError, match="neither /dev/null/x/.cache nor .*/file/caches can be written to"):
        use_writable_caches(tmp_path / "file" / "caches")
