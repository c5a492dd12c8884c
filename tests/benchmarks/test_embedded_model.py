import subprocess
import sys

import yaml
from mini_study import ROOT

from adamolmo.inference.clock import MeasuredClock
from adamolmo.inference.engine import Engine
from adamolmo.knobs import KnobConfig


def test_the_embedded_model_is_ready_for_timing(tmp_path):
    program = ROOT / "benchmarks" / "embedded_model.py"
    subprocess.run([sys.executable, program, tmp_path], check=True)
    config = KnobConfig("low", 4, 12)
    engine = Engine.load(
        tmp_path / "model",
        tmp_path / "importance" / "scores.json",
        configs=[config],
        tiers={"low": {"min_crops": 1, "max_crops": 1}},
        clock=MeasuredClock("cpu"),
        max_new_tokens=1,
    )
    assert engine.decoder_knobs(config).blocks == (0, 1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15)
    assert yaml.safe_load((tmp_path / "device.yaml").read_text())["model"] == {"device": "cpu", "dtype": "float32"}
