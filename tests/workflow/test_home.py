"""A home directory that cannot be written, as in containers and on some clusters."""

import pytest


@pytest.mark.parametrize("home", ["/dev/null/x", "", "/proc/x"])
def test_a_study_needs_no_home(clone, monkeypatch, home):
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", home)
    assert clone.plan()["evaluate"] > 1
    made = clone.snakemake("--", "results/model/manifest.json")
    assert made.returncode == 0, made.output
    assert clone.path(".snakemake/caches/snakemake").is_dir()


def test_a_figure_is_drawn_without_a_home(study, monkeypatch):
    monkeypatch.setenv("HOME", "/dev/null/x")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    figure = study.path("results/plots/pareto.pdf")
    before = figure.read_bytes()
    figure.unlink()
    made = study.snakemake("--", "results/plots/pareto.pdf")
    assert made.returncode == 0, made.output
    assert figure.read_bytes() == before
    log = study.path("logs/report/figures/pareto.log")
    assert "matplotlib" not in log.read_text().lower()
    assert list(study.path(".snakemake/caches/matplotlib").glob("fontlist*.json"))
