"""What training leaves beside a learned controller: its log, and of a predictor also how far it can be relied on."""

from adamolmo.files.columns import interval
from adamolmo.files.schema import Column, Table

TRAINING = Table(
    "training",
    "results/controllers/{controller}/training.parquet",
    "The training log of a policy: means over the steps since the row before.",
    ("step",),
    {
        "step": Column("int32", "optimiser step, from 1", "positive"),
        "reward": Column("float32", "expected under the policy"),
        "accuracy": Column("float32", "expected under the policy", "share"),
        "violation_rate": Column("float32", "expected share of requests above the budget", "share"),
        "kl": Column("float32", "KL divergence to the reference policy"),
        "entropy": Column("float32", "entropy of the policy, in nats", "not negative"),
        "held_out_reward": Column("float32", "of the policy's choices on held-out images, after this step"),
        "held_out_accuracy": Column("float32", "likewise", "share"),
        "held_out_violation_rate": Column("float32", "likewise", "share"),
    },
)

PREDICTOR_TRAINING = Table(
    "predictor_training",
    "results/controllers/{predictor}/training.parquet",
    "The training log of a predictor: mean over the steps since the row before; of the nearest neighbours one row per "
    "combination that was tried.",
    ("step",),
    {
        "step": Column("int32", "optimiser step, or combination, from 1", "positive"),
        "loss": Column("float32", "binary cross-entropy over all configurations, in nats", "not negative"),
        "held_out_loss": Column("float32", "likewise on held-out images, after this step", "not negative"),
    },
)

RELIABILITY = Table(
    "reliability",
    "results/controllers/{predictor}/reliability.parquet",
    "Predicted probabilities of right answers against what was observed, on held-out images of the profile; all "
    "configurations, in bins of equal counts.",
    ("bin",),
    {
        "bin": Column("int32", "from 1, lowest probabilities first", "positive"),
        "predicted": Column("float64", "mean predicted probability", "share"),
        **interval("observed", "mean accuracy", "share"),
        "num_predictions": Column("int64", "pairs of question and configuration", "positive"),
    },
)
