import yaml

from adamolmo.inference.clock import MeasuredClock
from adamolmo.inference.engine import Engine
from adamolmo.knobs import KnobConfig


def test_the_embedded_model_is_ready_for_timing(gpu_session_miniature):
    folder = gpu_session_miniature.folder / "embedded"
    config = KnobConfig("low", 4, 12)
    engine = Engine.load(
        folder / "model",
        folder / "importance" / "scores.json",
        configs=[config],
        tiers={"low": {"min_crops": 1, "max_crops": 1}},
        clock=MeasuredClock("cpu"),
        max_new_tokens=1,
    )
    assert engine.decoder_knobs(config).blocks == (0, 1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15)
    assert yaml.safe_load((folder / "device.yaml").read_text())["model"] == {"device": "cpu", "dtype": "float32"}
