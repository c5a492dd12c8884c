"""The paired bootstrap, one statistic at a time and by its definition: what faster code is compared with."""

import numpy as np

from adamolmo.statistics.intervals import Interval, Resampling, cluster_weights, mean, percentile_interval


def paired_bootstrap(a, b, clusters, resampling: Resampling) -> Interval:
    """Interval of mean(a) - mean(b) for two outcomes [n] of the same samples: both sides see the same resample."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    drawn = [mean(a, weights) - mean(b, weights) for weights in cluster_weights(clusters, resampling)]
    return percentile_interval(a.mean() - b.mean(), np.concatenate(drawn))
