import pytest
from profile_parts import change_part, merge, parts

from adamolmo.cli import main
from adamolmo.core_exp.inspection import inspect_profile
from adamolmo.errors import AdaMolmoError
from adamolmo.files.core_exp import CORE_EXP
from adamolmo.files.schema import write_table

TORN = [{"sample_id": f"torn{n}", "reason": f"image {n} cannot be read"} for n in range(25)]


def inspected(path, made, tiny_grid, **overrides):
    table, metadata = merge(*made, tiny_grid, max_failed_fraction=1.0, **overrides)
    write_table(table, path, CORE_EXP, metadata)
    return inspect_profile(path)


def test_what_a_measured_profile_says(tiny_grid, tmp_path):
    accuracy, latency = parts(tiny_grid)
    report = inspected(tmp_path / "p", (change_part(accuracy, "a-low-0", failed=TORN), latency), tiny_grid)
    lines = report.splitlines()
    assert lines[0] == f"profile of tiny: {tmp_path / 'p'}"
    assert "device    kind cpu" in lines
    assert "rows      216: 18 configurations x 12 samples (4 images)" in lines
    assert "latency   72 rows estimated, 144 rows measured" in lines
    assert "drift     4.0 % (limit 5 %); 0 of 144 measured rows above it" in lines
    assert "stages    differ from the request's own time by 0.40 % in the median row, 0.40 % at most" in lines
    assert "answers   100.0 % of the timed runs gave the scored answer" in lines
    assert any(line.startswith("estimates error on held-out samples: all 0.0 % (bias") for line in lines)
    assert "failed    25 of 37 samples" in lines
    assert "  torn0: image 0 cannot be read" in lines
    assert "  and 5 more" in lines
    # All configurations are equally accurate here: the frontier is the fastest alone.
    assert lines[-2].startswith("frontier  1 configurations")
    assert lines[-1].startswith("  low-k2-b5       0.500 (")
    assert " ms (" in lines[-1]


def test_rows_above_the_drift_limit_are_counted(tiny_grid, tmp_path):
    assert "18 of 144 measured rows above it" in inspected(
        tmp_path / "p", parts(tiny_grid), tiny_grid, drift_limit_pct=0.5
    )


def test_a_modelled_profile_has_nothing_measured_to_tell(tiny_grid, tmp_path):
    report = inspected(tmp_path / "p", parts(tiny_grid, clock="modelled"), tiny_grid)
    assert "latency   216 rows modelled" in report
    assert "drift" not in report


def test_the_command_prints_the_summary(tiny_grid, tmp_path, capsys):
    report = inspected(tmp_path / "p", parts(tiny_grid), tiny_grid)
    main(["inspect", str(tmp_path / "p")])
    assert capsys.readouterr().out == report + "\n"
    with pytest.raises(SystemExit, match="error: .*nothing: does not exist; expected the Parquet table core_exp"):
        main(["inspect", str(tmp_path / "nothing")])


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_text("no table")
    with pytest.raises(AdaMolmoError, match=f"^{path}: cannot be read as the Parquet table core_exp"):
        inspect_profile(path)
