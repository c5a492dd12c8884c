import pytest

PREDICTOR = "predict-question"


@pytest.mark.parametrize("shuffle", [(), ("--shuffle",)])
def test_predictors_are_compared_with_tables(run_on_study, shuffle):
    arguments = ("--folds", "2", "--predictors", PREDICTOR, *shuffle)
    outcome = run_on_study("predictors_offline", *arguments, changes="training: {held_out: 0.5}")  # of few images
    for row in outcome.record["mean"].values():
        compared = row[PREDICTOR]
        assert compared["gain"]["value"] == pytest.approx(compared["accuracy"] - row["tables"])
        assert compared["gain"]["low"] <= compared["gain"]["value"] <= compared["gain"]["high"]
    plain, tightened = outcome.record["request"].values()
    for budget, row in tightened.items():
        base = row["lookup-mean, tolerance 0"]
        assert list(row) == ["lookup-mean, tolerance 0", "lookup-mean-sized", PREDICTOR]
        for name, compared in row.items():
            assert compared["gain"]["value"] == pytest.approx(compared["accuracy"] - base["accuracy"])
            assert compared["late"] <= plain[budget][name]["late"] or compared["late"] <= 0.05
    assert outcome.printed.count(f"{PREDICTOR}, fold ") == 2
