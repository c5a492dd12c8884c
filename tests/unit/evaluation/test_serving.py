"""Time to first token and time per output token, of one request and of tables of them."""

import math

import numpy as np
import pandas as pd

from adamolmo.evaluation.serving import in_words, tpot_ms, ttft_ms
from adamolmo.inference.clock import StageTimes

STAGES = {"vision_ms": 3.0, "prefill_ms": 5.0, "controller_ms": 0.5, "decode_ms": 6.0, "preprocess_ms": 9.0}


def test_the_first_token_and_the_others_make_up_the_latency():
    stages, output_tokens = StageTimes(**STAGES), 4
    assert ttft_ms(stages) == 8.5
    assert tpot_ms(stages, output_tokens) == 1.5
    assert ttft_ms(stages) + output_tokens * tpot_ms(stages, output_tokens) == stages.total_ms


def test_an_empty_answer_has_no_time_per_token():
    assert math.isnan(tpot_ms(StageTimes(**STAGES), 0))
    table = pd.DataFrame([STAGES, STAGES])
    np.testing.assert_equal(tpot_ms(table, pd.Series([0, 3])).tolist(), [math.nan, 2.0])


def test_words_leave_out_what_a_request_does_not_have():
    assert in_words(8.5, 1.5, 2.0) == "TTFT 8.50 ms, TPOT 1.50 ms, energy 2 J"
    assert in_words(8.5, math.nan, None) == in_words(8.5, math.nan, math.nan) == "TTFT 8.50 ms"
