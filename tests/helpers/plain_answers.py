"""Answers by the plain forward pass, which the shared and batched passes are compared with."""

import torch


def exact(prediction, answers):
    return float(prediction == answers[0])


def plain_answers(engine, sample, tier, knobs):
    """The answer by repeated full forward passes, without cache or batching."""
    row = engine.prepare(sample.open_image(), sample.question, "tiny", tier)
    ids, tokens = row.input_ids, []
    while len(tokens) < engine.max_new_tokens:
        with torch.inference_mode():
            token = (
                engine.backend.model(ids, None, row.pixels, row.masks, row.image_input_idx, knobs)[0, -1]
                .argmax()
                .item()
            )
        if token == engine.backend.tokenizer.eos_id:
            break
        tokens.append(token)
        ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    return engine.backend.decode_answer(tokens)
