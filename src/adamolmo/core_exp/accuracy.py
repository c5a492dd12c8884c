"""The accuracy pass of the profile: every knob configuration's answer, score, sizes and analytic cost on every sample.

Nothing is timed here, so work is shared and batched (`grid.py`). Latencies come from single requests
(`core_exp/latency.py`); `core_exp/merge.py` puts both together.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from pandas import DataFrame

from adamolmo.data.samples import Questions
from adamolmo.files.core_exp import CORE_EXP_ACCURACY
from adamolmo.inference.clock import modelled_ms
from adamolmo.inference.engine import Engine
from adamolmo.inference.grid import BatchLimits, answer_samples
from adamolmo.knobs import KnobConfig


def accuracy_pass(
    engine: Engine, questions: Questions, configs: Sequence[KnobConfig], limits: BatchLimits
) -> DataFrame:
    """The rows of the table `core_exp_accuracy` without its dataset, one per (sample, config)."""
    costs = _request_costs(engine)
    rows = []
    for tier in dict.fromkeys(config.tier for config in configs):
        variants = {config: engine.decoder_knobs(config) for config in configs if config.tier == tier}
        for entry in answer_samples(engine, questions, tier, variants, limits, "accuracy"):
            for config, tokens in entry.tokens.items():
                answer = engine.backend.decode_answer(tokens)
                rows.append(
                    {
                        "sample_id": entry.sample.sample_id,
                        "image_id": entry.sample.image_id,
                        **vars(config),
                        "prediction": answer,
                        "accuracy": questions.scorer(answer, entry.sample.answers),
                        "num_crops": entry.num_crops,
                        "input_tokens": entry.input_tokens,
                        "output_tokens": len(tokens),
                        **costs(config, entry.num_crops, entry.input_tokens, len(tokens)),
                    }
                )
    return DataFrame(rows, columns=[name for name in CORE_EXP_ACCURACY.columns if name != "dataset"])


def _request_costs(engine: Engine) -> Callable[..., Mapping]:
    """Requests of the same size cost the same, so each size is computed once."""

    @cache
    def costs(config: KnobConfig, num_crops: int, input_tokens: int, output_tokens: int) -> dict:
        knobs = engine.decoder_knobs(config)
        decode_steps = engine.decode_steps(output_tokens)
        model = engine.backend.costs
        stages = {
            "vision": model.vision(num_crops),
            "prefill": model.prefix(input_tokens) + model.adaptive(input_tokens, knobs),
            "decode": model.decode(input_tokens, decode_steps, knobs),
        }
        return {
            "decode_steps": decode_steps,
            "flops": sum(cost.flops for cost in stages.values()),
            "memory_bytes": model.memory_bytes(num_crops, input_tokens, engine.max_new_tokens, knobs.top_k),
            **{f"modelled_{stage}_ms": modelled_ms(cost) for stage, cost in stages.items()},
        }

    return costs
