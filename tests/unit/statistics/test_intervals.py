"""Every interval against scipy, numpy on the written-out resample, or published values."""

import numpy as np
import pytest
from paired_bootstrap import paired_bootstrap
from scipy import stats

from adamolmo.errors import AdaMolmoError
from adamolmo.statistics.intervals import (
    Resampling,
    clopper_pearson,
    cluster_weights,
    clustered_bootstrap,
    holm,
    mean,
    mean_intervals,
    quantile,
    sign_flip_test,
)

SINGLE = range(400)  # every sample its own cluster


def _skewed(n: int = 400, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).gamma(3.0, 5.0, size=n)


def test_bootstrap_of_the_mean_agrees_with_scipy():
    values = _skewed()
    ours = clustered_bootstrap(values, SINGLE, mean, resampling=Resampling(20_000, 3))
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=4).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_bootstrap_of_a_quantile_agrees_with_scipy():
    values = _skewed(2000)  # dense enough that the ends of the interval do not sit on a gap between two values
    ours = clustered_bootstrap(values, range(2000), quantile(0.95), resampling=Resampling(4000, 3))
    theirs = stats.bootstrap(
        (values,), lambda x, axis: np.quantile(x, 0.95, axis=axis), n_resamples=4000, method="percentile", rng=4
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.value == pytest.approx(np.quantile(values, 0.95))
    assert ours.low == pytest.approx(theirs.low, abs=0.1 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.1 * width)


@pytest.mark.parametrize("q", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_weighted_statistics_equal_numpy_on_the_written_out_resample(q):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 9, size=30).astype(float)  # with ties
    weights = rng.integers(0, 4, size=(50, 30))
    for row, ours, average in zip(weights, quantile(q)(values, weights), mean(values, weights), strict=True):
        resample = np.repeat(values, row)
        assert ours == pytest.approx(np.quantile(resample, q))
        assert average == pytest.approx(resample.mean())


def test_clusters_are_drawn_whole_and_as_many_as_there_are():
    clusters = np.array(["b", "a", "b", "c", "a", "b"])
    weights = np.concatenate(list(cluster_weights(clusters, Resampling(200))))
    assert weights.shape == (200, 6)
    for name in "abc":
        members = weights[:, clusters == name]
        assert (members == members[:, :1]).all()
    assert (weights[:, 0] + weights[:, 1] + weights[:, 3] == 3).all()
    assert len(np.unique(weights, axis=0)) > 5


def test_questions_that_share_an_image_widen_the_interval_as_fewer_samples_do():
    per_image = np.random.default_rng(2).random(100)
    values, images = np.repeat(per_image, 5), np.repeat(np.arange(100), 5)
    naive = clustered_bootstrap(values, range(500), resampling=Resampling(4000))
    clustered = clustered_bootstrap(values, images, resampling=Resampling(4000))
    assert (clustered.high - clustered.low) / (naive.high - naive.low) == pytest.approx(np.sqrt(5), rel=0.1)


def test_bootstrap_covers_the_truth_at_its_confidence():
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(400):
        image = np.repeat(rng.normal(0.0, 1.0, size=80), 3)
        interval = clustered_bootstrap(
            image + rng.normal(0.0, 1.0, size=240), np.repeat(np.arange(80), 3), resampling=Resampling(500, trial)
        )
        covered += interval.low <= 0.0 <= interval.high
    assert stats.binomtest(covered, 400, 0.95).pvalue > 0.01


def test_bootstrap_is_repeatable_and_depends_on_the_seed(monkeypatch):
    values = _skewed()
    first = clustered_bootstrap(values, SINGLE, resampling=Resampling(500, 1))
    assert clustered_bootstrap(values, SINGLE, resampling=Resampling(500, 1)) == first
    assert clustered_bootstrap(values, SINGLE, resampling=Resampling(500, 2)) != first
    monkeypatch.setattr("adamolmo.statistics.intervals._MAX_WEIGHTS", 400 * 7)  # seven resamples at a time
    blocks = list(cluster_weights(SINGLE, Resampling(500, 1)))
    assert len(blocks) == 72
    assert sum(len(block) for block in blocks) == 500


def test_paired_bootstrap_finds_a_difference_that_two_separate_intervals_do_not():
    rng = np.random.default_rng(7)
    hard = rng.normal(0.0, 1.0, size=400)
    a, b = hard + 0.05 + rng.normal(0.0, 0.1, size=400), hard + rng.normal(0.0, 0.1, size=400)
    paired = paired_bootstrap(a, b, SINGLE, resampling=Resampling(10_000))
    reference = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert paired.value == pytest.approx((a - b).mean())
    assert (paired.low, paired.high) == pytest.approx((reference.low, reference.high), abs=0.0015)
    assert paired.low > 0
    separate = [clustered_bootstrap(side, SINGLE) for side in (a, b)]
    assert separate[0].low < separate[1].high


@pytest.mark.parametrize(("misses", "n"), [(0, 30), (1, 30), (15, 30), (30, 30), (7, 1000), (0, 1)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_clopper_pearson_equals_scipy(misses, n, confidence):
    ours = clopper_pearson(misses, n, confidence)
    theirs = stats.binomtest(misses, n).proportion_ci(confidence, method="exact")
    assert (ours.value, ours.low, ours.high) == pytest.approx((misses / n, theirs.low, theirs.high))


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [
        ([], [], "at least one"),
        ([1.0, float("nan")], [0, 1], "finite"),
        ([1.0, 2.0], [0], "2 entries and 'clusters' 1"),
    ],
)
def test_bad_values_are_refused(values, clusters, message):
    with pytest.raises(AdaMolmoError, match=message):
        clustered_bootstrap(values, clusters)
    with pytest.raises(AdaMolmoError, match=message):
        mean_intervals([values], clusters)


@pytest.mark.parametrize(("misses", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_rates_are_refused(misses, n):
    with pytest.raises(AdaMolmoError, match="is not a rate"):
        clopper_pearson(misses, n)


def test_intervals_of_many_means_at_once_are_those_of_each():
    rng = np.random.default_rng(3)
    rows, images = rng.normal(size=(4, 90)), np.repeat(np.arange(30), 3)
    together = mean_intervals(rows, images, resampling=Resampling(300, 5))
    each = [clustered_bootstrap(row, images, mean, resampling=Resampling(300, 5)) for row in rows]
    np.testing.assert_allclose(together.T, [(one.value, one.low, one.high) for one in each])
    paired = paired_bootstrap(rows[0], rows[1], images, resampling=Resampling(300, 5))
    assert mean_intervals(rows[0] - rows[1], images, Resampling(300, 5))[:, 0] == pytest.approx(
        (paired.value, paired.low, paired.high)
    )


def test_sign_flip_test_equals_the_exact_permutation_test_of_scipy():
    rng = np.random.default_rng(11)
    a, b = rng.normal(0.4, 1.0, size=12), rng.normal(0.0, 1.0, size=12)
    exact = stats.permutation_test(
        (a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True
    ).pvalue
    assert exact == pytest.approx(round(exact * 2**12) / 2**12)  # all 4096 sign patterns were counted
    (ours,) = sign_flip_test(a - b, SINGLE[:12], permutations=40_000)
    assert ours == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 40_000))


def test_sign_flip_test_of_whole_images_is_that_of_their_sums():
    rng = np.random.default_rng(12)
    differences, images = rng.integers(-1, 2, size=120).astype(float), np.repeat(np.arange(15), 8)
    sums = differences.reshape(15, 8).sum(axis=1)
    both = np.stack([differences, -differences])
    np.testing.assert_array_equal(sign_flip_test(both, images), sign_flip_test(sums, range(15)).repeat(2))


def test_equal_outcomes_are_never_told_apart_and_p_is_never_zero():
    never, always = sign_flip_test(np.stack([np.zeros(50), np.ones(50)]), SINGLE[:50], permutations=999)
    assert (never, always) == (1.0, 1 / 1000)


def test_holm_on_a_worked_example():
    """Holm (1979) steps down: 0.005 x 4, 0.01 x 3, 0.03 x 2, then 0.04 is raised to the 0.06 before it."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.5, 0.6]), [1.0, 1.0])
    assert len(holm([])) == 0


def _two_controllers(rng: np.random.Generator, images: int, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores on 3 questions per image: mostly alike, as hard as the image; they differ on 8 %, in favour of the first
    as often as `gain` asks for, with one favourite per image."""
    both = rng.random((images, 3)) < 1 / (1 + np.exp(rng.normal(size=(images, 1))))
    differs = rng.random((images, 3)) < 0.08
    first_wins = rng.random((images, 1)) < 0.5 + gain / 0.08 / 2
    first, second = np.where(differs, first_wins, both), np.where(differs, ~first_wins, both)
    return first.ravel().astype(float), second.ravel().astype(float)


def test_a_planted_difference_of_3_points_is_found_and_none_where_none_is_planted():
    """Simulated studies of 2100 questions on 700 images, corrected over 10 comparisons of which one is planted."""
    rng, clusters, studies = np.random.default_rng(20), np.repeat(np.arange(700), 3), 120
    found = false = intervals_above_zero = 0
    for study in range(studies):
        pairs = [_two_controllers(rng, 700, gain) for gain in (0.03, *[0.0] * 9)]
        differences = np.stack([first - second for first, second in pairs])
        p = holm(sign_flip_test(differences, clusters, permutations=2000, seed=study))
        found += p[0] < 0.05
        false += (p[1:] < 0.05).any()
        intervals_above_zero += paired_bootstrap(*pairs[0], clusters, resampling=Resampling(200, study)).low > 0
    assert found / studies > 0.9
    assert intervals_above_zero / studies > 0.9
    assert stats.binomtest(int(false), studies, 0.05, alternative="greater").pvalue > 0.01


def test_false_positives_of_one_comparison_stay_at_5_percent():
    rng, clusters = np.random.default_rng(21), np.repeat(np.arange(60), 3)  # few images: the hard case
    differences = [np.subtract(*_two_controllers(rng, 60, 0.0)) for _ in range(2000)]
    false = int((sign_flip_test(differences, clusters, permutations=1000) < 0.05).sum())
    assert false > 0
    assert stats.binomtest(false, 2000, 0.05, alternative="greater").pvalue > 0.01
