"""llama.cpp as a peer, on one core: the weights as a GGUF file in float32, through llama-cpp-python's C interface.

Both packages are optional: README.md beside this file says how to install them.
"""

import ctypes
import tempfile
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import torch
from cases import Case, Peer
from torch import Tensor

# The names of transformers' OLMoE -> GGUF's.
_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_OF_BLOCK = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate": "ffn_gate_inp",
}


def llama_cpp_peer(twin, prompt: Tensor, decode_tokens: int) -> Peer:
    """Of the twin from `olmoe_twin`, whose weights are copied; prompt [1, tokens]."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "twin.gguf"
        write_gguf(twin, path)
        runner = _Runner(path, prompt[0].tolist(), decode_tokens)
    logits = {"prefill llama.cpp": runner.prefill(), "decode llama.cpp": runner.last_token_again()}
    cases = [
        Case("prefill llama.cpp", "prompt", runner.prefill),
        Case("decode llama.cpp", "token", runner.decode, count=decode_tokens),
    ]
    return Peer("llama.cpp", {name: torch.from_numpy(found) for name, found in logits.items()}, cases)


def write_gguf(twin, path: Path) -> None:
    """Architecture olmoe, without a vocabulary: there are only token numbers."""
    config = twin.config
    writer = gguf.GGUFWriter(path, "olmoe")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_expert_count(config.num_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("none")
    for name, weight in twin.state_dict().items():
        for new_name, part in _renamed(name, weight):
            writer.add_tensor(f"{new_name}.weight", part.float().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _renamed(name: str, weight: Tensor) -> list[tuple[str, Tensor]]:
    name = name.removesuffix(".weight")
    if name in _WHOLE:
        return [(_WHOLE[name], weight)]
    _, _, layer, of_block = name.split(".", 3)
    if of_block == "mlp.experts.gate_up_proj":  # [experts, 2 * expert_dim, d_model]
        gate, up = weight.chunk(2, dim=1)
        return [(f"blk.{layer}.ffn_gate_exps", gate), (f"blk.{layer}.ffn_up_exps", up)]
    if of_block == "mlp.experts.down_proj":
        return [(f"blk.{layer}.ffn_down_exps", weight)]
    return [(f"blk.{layer}.{_OF_BLOCK[of_block]}", weight)]


class _Runner:
    """One model and one context, on one thread; without flash attention, which is slower on a CPU."""

    def __init__(self, path: Path, prompt: list[int], decode_tokens: int):
        self._prompt, self._decode_tokens = prompt, decode_tokens
        llama_cpp.llama_log_set(_silent, ctypes.c_void_p())
        llama_cpp.llama_backend_init()
        model_settings = llama_cpp.llama_model_default_params()
        model_settings.n_gpu_layers = 0
        model_settings.use_mmap = False  # the file is removed
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_settings)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = len(prompt) + decode_tokens + 1
        settings.n_batch = settings.n_ubatch = len(prompt)
        settings.n_threads = settings.n_threads_batch = 1
        settings.type_k = settings.type_v = llama_cpp.GGML_TYPE_F32
        settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        if not self._model or not self._context:
            raise RuntimeError("llama.cpp cannot load the weights that were written for it.")
        self._vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._first = int(self.prefill().argmax())

    def prefill(self) -> np.ndarray:
        """Logits of the token behind the prompt, [vocabulary]."""
        llama_cpp.llama_memory_clear(self._memory, False)
        return self._pass(self._prompt).copy()

    def last_token_again(self) -> np.ndarray:
        """The same logits, computed as a decoded token's."""
        llama_cpp.llama_memory_seq_rm(self._memory, 0, len(self._prompt) - 1, -1)
        return self._pass(self._prompt[-1:]).copy()

    def decode(self) -> int:
        """Behind the prompt, which stays in the cache from one call of `decode` or `prefill` to the next."""
        llama_cpp.llama_memory_seq_rm(self._memory, 0, len(self._prompt), -1)
        token = self._first
        for _ in range(self._decode_tokens):
            token = int(self._pass([token]).argmax())
        return token

    def _pass(self, tokens: list[int]) -> np.ndarray:
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        if llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(array, len(tokens))) != 0:
            raise RuntimeError("llama.cpp failed to decode.")
        return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self._context, -1), (self._vocabulary,))


@llama_cpp.llama_log_callback
def _silent(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    """llama.cpp says a lot while it loads."""
