"""How controllers are trained: the section `training`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from adamolmo.budgets import Budget
from adamolmo.config.values import Count, PlainBudgetText, Positive, Section, Text, Weight


class RewardSettings(Section):
    """accuracy - beta*sigmoid(10*(r-1)) - gamma*max(0,r-1)^2 [+ delta*(1-r) if r <= 1] - epsilon*complexity,
    with r = latency / budget."""

    beta: Weight = Field(description="weight of the soft step at the budget")
    gamma: Weight = Field(description="weight of the squared overshoot")
    delta: Weight = Field(description="weight of the time saved when the budget is met")
    epsilon: Weight = Field(description="weight of the configuration's complexity")


class MobileViTSettings(Section):
    """The vision encoder of the controllers with '-mobilevit' in their name."""

    checkpoint: Text | None = Field(
        description="directory or Hub name of MobileViT weights, which are then frozen; null: a network of `width`, "
        "trained with the controller"
    )
    width: float = Field(gt=0, le=1, description="channels as a share of MobileViT-small's")


class TrainingSettings(Section):
    """How the learned controllers are trained on the profile."""

    objective: Literal["grpo", "exact", "supervised"] = Field(
        description="'grpo' samples groups; 'exact' uses all rewards at once; 'supervised' imitates the best choice"
    )
    budgets: Annotated[list[PlainBudgetText], Field(min_length=2, max_length=2)] = Field(
        description="lowest and highest budget that training draws from, uniformly; apart from `budgets`, so that "
        "a new evaluated budget retrains nothing"
    )
    held_out: float = Field(gt=0, lt=1, description="share of the profile's images kept apart, to stop early by")
    patience: Count = Field(
        description="rows of the training log without a better held-out reward before training stops"
    )
    steps: Count = Field(description="optimiser steps at most")
    batch_size: Count = Field(description="(sample, budget) pairs per step")
    group_size: int = Field(ge=2, le=10_000, description="configurations drawn per pair (objective grpo)")
    learning_rate: Positive = Field(description="step size of AdamW")
    clip: Positive = Field(description="clipping range of the policy ratio (objective grpo)")
    kl: Weight = Field(description="weight of the KL divergence to the table's policy")
    entropy: Weight = Field(description="weight of the entropy bonus")
    prior_temperature: Positive = Field(
        description="policies start from the table's choice: a configuration whose reward by the table is higher by "
        "this much is e times as likely",
    )
    reward: RewardSettings = Field(description="weights of the reward")
    mobilevit: MobileViTSettings = Field(description="vision encoder of the controllers with '-mobilevit'")

    @model_validator(mode="after")
    def _check(self) -> "TrainingSettings":
        lowest, highest = map(Budget.parse, self.budgets)
        if lowest.unit == highest.unit and lowest.value >= highest.value:
            raise ValueError(f"training.budgets goes from {lowest} to {highest}; expected the lowest first")
        return self
