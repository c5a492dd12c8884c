"""Accuracy lost by block, and accuracy of the blocks kept."""

import numpy as np
import study_data
from matplotlib.text import Annotation

from adamolmo.statistics.intervals import Resampling, mean_intervals


def test_importance_shows_every_drop_and_the_order_of_removal(figures):
    scores = study_data.importance_scores()
    heat = figures["importance"].axes[0]
    (mesh,) = heat.collections
    np.testing.assert_allclose(mesh.get_array()[0], 100 * np.array(list(scores.scores.values())))
    last = scores.datasets[study_data.DATASETS[-1]].scores
    np.testing.assert_allclose(mesh.get_array()[-1], 100 * np.array(list(last.values())))
    order = [text for text in heat.texts if isinstance(text, Annotation)]
    assert [round(text.xy[0] - 0.5) + 3 for text in order] == list(scores.removal_order)
    assert [text.get_text() for text in order] == [str(place) for place in range(1, 14)]


def test_importance_shows_accuracy_against_the_blocks_kept_with_intervals(figures, profile):
    kept = figures["importance"].axes[1]
    for bars, dataset in zip(kept.containers, study_data.DATASETS, strict=True):
        full = profile.query(f"dataset == '{dataset}' and tier == 'high' and top_k == 8")
        expected = 100 * full.groupby("num_active_blocks")["accuracy"].mean()
        np.testing.assert_allclose(bars.lines[0].get_ydata(), expected)
        at_16 = full.query("num_active_blocks == 16")
        _, low, high = mean_intervals(at_16["accuracy"], at_16["image_id"], resampling=Resampling(1000))[:, 0]
        np.testing.assert_allclose(bars.lines[2][0].get_segments()[-1][:, 1], [100 * low, 100 * high])
