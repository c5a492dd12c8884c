"""What a learned controller would have spent on questions that it did not learn from, under every limit.

Its choices follow from the stored features, as in training, and what they would have cost from the profile: no request
is answered.
"""

from collections.abc import Sequence

import numpy as np
import torch

from adamolmo.controllers.response import Response, limits, prices, spent
from adamolmo.controllers.training.training_set import TrainingSet
from adamolmo.files.governor import Spent
from adamolmo.inference.consulting import first_decision, second_decision, what_it_reads
from adamolmo.inference.controller import (
    Controller,
    Decision,
    Limit,
    RequestSize,
    Stage1Inputs,
    decides_by_network,
)
from adamolmo.knobs import KnobConfig

_BUDGETS, _PRICES = 24, 48  # limits asked about
_CHUNK = 64  # prompts that pass the fixed prefix together


def rehearse(controller: Controller, data: TrainingSet, rows: Sequence[int], overheads_ms: Sequence[float]) -> Response:
    """Args:
    rows: of `data`, questions of one dataset.
    overheads_ms: what the controller adds to latencies of the profile, at limits at which it does not fall back on what
        tables know, [configurations].
    """
    rows = list(rows)
    latency_ms = data.profile.latency_ms[rows].double().numpy()  # [rows, configurations]
    slower_ms = latency_ms + np.array(overheads_ms)
    place = {config: index for index, config in enumerate(data.fingerprint.grid.configs)}
    means_ms = latency_ms.mean(axis=0)
    dataset, _ = data.places[rows[0]]
    scatter = data.expected[dataset].scatter

    def spent_under(limit: Limit) -> Spent:
        chosen = [place[config] for config in choices(controller, data, rows, limit)]
        network = decides_by_network(what_it_reads(controller, limit), controller.budget_token(limit.budget_ms))
        taken_ms = slower_ms if network else latency_ms
        return spent(taken_ms[np.arange(len(rows)), chosen], scatter)

    priced = prices(means_ms.max(), _PRICES) if controller.heeds_price else np.empty(0)
    return Response.of(spent_under, limits(means_ms.min(), means_ms.max(), _BUDGETS), priced)


@torch.inference_mode()
def choices(controller: Controller, data: TrainingSet, rows: Sequence[int], limit: Limit) -> list[KnobConfig]:
    """What the controller chooses for profiled questions, as it would for requests."""
    decided = [first_decision(controller, _inputs(controller, data, row, limit)) for row in rows]
    return [
        KnobConfig(decision.tier, *decoder)
        for decision, decoder in zip(decided, _decoders(controller, data, rows, decided, limit.budget_ms), strict=True)
    ]


def _inputs(controller: Controller, data: TrainingSet, row: int, limit: Limit) -> Stage1Inputs:
    reads = what_it_reads(controller, limit)
    seen = {reading: getattr(data.readings, reading)[row][None] for reading in reads - {"size"}}
    if "size" in reads:
        sizes = (data.profile.num_crops, data.profile.input_tokens)
        seen["size"] = RequestSize(*(tuple(map(int, of_tiers[row].tolist())) for of_tiers in sizes))
    if "thumbnail" in seen:
        seen["thumbnail"] = seen["thumbnail"] / 255
    return Stage1Inputs(limit, **seen)


def _decoders(
    controller: Controller, data: TrainingSet, rows: Sequence[int], decided: Sequence[Decision], budget_ms: float
) -> list[tuple[int, int]]:
    """(top_k, blocks) of each row; those that stage 1 left open after the budget token has passed the fixed prefix."""
    found = {place: decision.decoder for place, decision in enumerate(decided) if decision.decoder is not None}
    for tier_index, tier in enumerate(data.fingerprint.grid.tiers):
        places = [place for place, d in enumerate(decided) if d.decoder is None and d.tier == tier]
        for start in range(0, len(places), _CHUNK):
            chunk = places[start : start + _CHUNK]
            token = controller.budget_token(budget_ms).expand(len(chunk), 1, -1)  # [rows, 1, d_model]
            states = data.states([rows[place] for place in chunk], tier_index, token)  # [rows, 1, d_model]
            for place, state in zip(chunk, states, strict=True):
                found[place] = second_decision(controller, budget_ms, decided[place], state)
    return [found[place] for place in range(len(decided))]
