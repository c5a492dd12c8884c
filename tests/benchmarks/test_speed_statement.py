from speed_statement import statement

RECORD = {
    "device": {"name": "a processor"},
    "versions": {"torch": "2.13.0", "llama_cpp_python": "0.3.36"},
    "dtype": "torch.float32",
    "size": "medium",
    "tokens": 600,
    "repeats": 9,
    "cases": [{"name": "prefill k8-b16", "median_ms": 1086.0}, {"name": "decode k8-b16", "median_ms": 13.21}],
    "ratios": {
        "prefill transformers eager / prefill k8-b16": {"value": 1.07, "low": 1.05, "high": 1.1},
        "decode llama.cpp / decode k8-b16": {"value": 0.931, "low": 0.9, "high": 0.96},
        "decode transformers eager / decode k8-b16": {"value": 1.5, "low": 1.4, "high": 1.6},
    },
    "strongest_peers": {"prefill": "prefill transformers eager", "decode": "decode llama.cpp"},
    "missing_peers": {},
}


def test_the_strongest_peer_is_named_even_where_it_is_faster():
    assert statement(RECORD) == (
        "On a processor (float32, size medium, 600 tokens, 9 repeats) the prefill takes 1086.0 ms and with "
        "transformers eager, the strongest peer, 1.07 times as long (95 % interval 1.05 to 1.10); a decoded token "
        "takes 13.2 ms and with llama.cpp, the strongest peer, 0.93 times as long (95 % interval 0.90 to 0.96) "
        "(torch 2.13.0, llama_cpp_python 0.3.36)."
    )


def test_a_peer_that_was_not_there_is_named():
    missing = {"llama.cpp": "gguf is not installed"}
    assert statement(RECORD | {"missing_peers": missing}).endswith("; without llama.cpp: gguf is not installed).")


def test_it_reads_what_the_engines_benchmark_writes(gpu_session_miniature):
    record = gpu_session_miniature.outcome("engine").record
    for stage in ("prefill", "decode"):
        name = record["strongest_peers"][stage].removeprefix(f"{stage} ")
        assert f"with {name}, the strongest peer, " in statement(record)
