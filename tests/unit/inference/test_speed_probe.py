from adamolmo.inference.speed_probe import SpeedProbe
from adamolmo.knobs import KnobConfig


def test_it_is_always_the_same_request_with_all_crops_of_its_tier(tiny_engine, monkeypatch):
    responses, answer = [], tiny_engine.answer

    def recording(*args, **kwargs):
        responses.append(answer(*args, **kwargs))
        return responses[-1]

    monkeypatch.setattr(tiny_engine, "answer", recording)
    times = [SpeedProbe(tiny_engine, KnobConfig("high", 4, 7)).run() for _ in range(2)]
    assert times[0] == times[1] == responses[0].stages.total_ms > 0
    assert responses[0] == responses[1]
    assert str(responses[0].config) == "high-k4-b7"
    assert responses[0].num_crops >= tiny_engine.backend.crop_ranges["high"].max_crops
