"""How controllers are trained: the section `training`."""

from typing import Annotated, Literal

from pydantic import Field

from adamolmo.config.values import Count, PlainBudgetText, Section


class RewardSettings(Section):
    """accuracy - beta*sigmoid(10*(r-1)) - gamma*max(0,r-1)^2 [+ delta*(1-r) if r <= 1] - epsilon*complexity,
    with r = latency / budget."""

    beta: float = Field(ge=0, description="weight of the soft step at the budget")
    gamma: float = Field(ge=0, description="weight of the squared overshoot")
    delta: float = Field(ge=0, description="weight of the time saved when the budget is met")
    epsilon: float = Field(ge=0, description="weight of the configuration's complexity")


class MobileViTSettings(Section):
    """The vision encoder of the controllers with '-mobilevit' in their name."""

    checkpoint: str | None = Field(
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
    group_size: int = Field(ge=2, description="configurations drawn per pair (objective grpo)")
    learning_rate: float = Field(gt=0, description="step size of AdamW")
    clip: float = Field(gt=0, description="clipping range of the policy ratio (objective grpo)")
    kl: float = Field(ge=0, description="weight of the KL divergence to the table's policy")
    entropy: float = Field(ge=0, description="weight of the entropy bonus")
    prior_temperature: float = Field(
        gt=0,
        description="policies start from the table's choice: a configuration whose reward by the table is higher by "
        "this much is e times as likely",
    )
    reward: RewardSettings = Field(description="weights of the reward")
    mobilevit: MobileViTSettings = Field(description="vision encoder of the controllers with '-mobilevit'")
