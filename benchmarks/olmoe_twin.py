"""transformers' OLMoE with the weights of a MolmoE: what the decoder is compared with, in tests and in benchmarks."""

import torch

from adamolmo.model.molmoe import MolmoE


def olmoe_twin(model: MolmoE):
    """An `OlmoeForCausalLM` that computes what the model does at full knobs on text. Expert weights are copied.

    Its `set_experts_implementation` switches between "eager" (a loop over experts), "batched_mm" and "grouped_mm".
    """
    from transformers import OlmoeConfig, OlmoeForCausalLM

    config = model.config
    with torch.device("meta"):
        twin = OlmoeForCausalLM(
            OlmoeConfig(
                vocab_size=config.embedding_size,
                hidden_size=config.d_model,
                intermediate_size=config.expert_dim,
                num_hidden_layers=config.num_layers,
                num_attention_heads=config.num_heads,
                num_experts=config.num_experts,
                num_experts_per_tok=config.top_k,
                norm_topk_prob=False,
                rms_norm_eps=config.norm_eps,
                rope_theta=config.rope_theta,
                max_position_embeddings=config.max_positions,
                tie_word_embeddings=False,
                eos_token_id=None,
            )
        )
    weight = model.lm_head.weight
    twin.load_state_dict(_state(model), assign=True)
    twin.model.rotary_emb = type(twin.model.rotary_emb)(twin.config).to(weight.device)
    return twin.eval().requires_grad_(False)


def _state(model: MolmoE) -> dict[str, torch.Tensor]:
    transformer = model.transformer
    state = {
        "model.embed_tokens.weight": transformer["wte"].embedding,
        "model.norm.weight": transformer["ln_f"].weight,
        "lm_head.weight": model.lm_head.weight,
    }
    for layer, block in enumerate(transformer["blocks"]):
        attn, mlp = block.attn, block.mlp
        q, k, v = attn.att_proj.weight.chunk(3)
        weights = {
            "self_attn.q_proj.weight": q,
            "self_attn.k_proj.weight": k,
            "self_attn.v_proj.weight": v,
            "self_attn.o_proj.weight": attn.attn_out.weight,
            "self_attn.q_norm.weight": attn.q_norm.weight,
            "self_attn.k_norm.weight": attn.k_norm.weight,
            "input_layernorm.weight": attn.attn_norm.weight,
            "post_attention_layernorm.weight": mlp.ff_norm.weight,
            "mlp.gate.weight": mlp.gate.weight,
            "mlp.experts.gate_up_proj": mlp.experts.gate_up.mT.contiguous(),
            "mlp.experts.down_proj": mlp.experts.down.mT.contiguous(),
        }
        state |= {f"model.layers.{layer}.{name}": weight for name, weight in weights.items()}
    return state
