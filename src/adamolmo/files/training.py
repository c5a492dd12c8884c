"""The training log of a learned controller."""

from adamolmo.files.schema import Column, Table

TRAINING = Table(
    "training",
    "results/controllers/{controller}/training.parquet",
    "The training log: means over the steps since the row before.",
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
