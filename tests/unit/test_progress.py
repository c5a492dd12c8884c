from adamolmo import progress as module
from adamolmo.progress import progress


def test_log_gets_lines_at_intervals_and_the_end(capsys, monkeypatch):
    now = iter([0.0, 4.0, 11.0, 15.0, 16.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    assert list(progress(iter("abcd"), "work", total=4)) == list("abcd")
    assert capsys.readouterr().err.splitlines() == [
        "work: 2/4 after 11 s (0.18/s, 11 s left)",
        "work: 4/4 after 16 s (0.25/s)",
    ]


def test_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress(range(3), "work", total=3)) == [0, 1, 2]
    assert "work: 100%" in capsys.readouterr().err
