"""How near the engine comes to the limits of the machine, and how it compares with transformers' OLMoE.

Random weights: `molmoe` is MolmoE-1B; `medium` has its depth, experts and tokens, and a quarter of its widths; `small`,
to try it out, a sixteenth, and fewer vision blocks. The physical ceiling comes first: the time that a stage's
operations or bytes (each weight read once; activations and cache) take at the rates of the device, whichever is longer.
The rates are measured without PyTorch (`machine_rates.py`). Then vision, prefill and decode are measured at batch 1,
and on the same weights, in the same run, the peers (text alone, full knobs): transformers, eager with each
implementation of the experts and compiled; on a CPU llama.cpp where it is installed (README.md beside this file). Their
logits are compared before anything is timed; all cases take turns in a random order in every repeat.

    python benchmarks/engine.py                   # CPU: medium, one core
    python benchmarks/engine.py --device cuda     # molmoe
"""

import platform
import re
import shutil
from argparse import Namespace
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from arguments import benchmark_parser, write_record
from cases import Case, Peer, timed_ms
from machine_rates import device_rates
from olmoe_twin import olmoe_twin

from adamolmo.errors import AdaMolmoError
from adamolmo.inference.device import claim_device, describe_device
from adamolmo.jobs.script import run
from adamolmo.knobs import DecoderKnobs
from adamolmo.model.backend import MolmoEBackend
from adamolmo.model.config import MolmoEConfig, VisionConfig
from adamolmo.model.cost import Cost, CostModel
from adamolmo.model.decoder import Rotary
from adamolmo.model.decoding import greedy_decoder
from adamolmo.model.molmoe import MolmoE
from adamolmo.model.preprocess import PreprocessConfig, num_image_tokens
from adamolmo.progress import progress
from adamolmo.statistics.intervals import median_interval

# Corners and centre of the study's decoder knobs: (top_k, active blocks).
SETTINGS = [(8, 16), (8, 12), (4, 16), (4, 12), (6, 14)]
TILINGS = {4: (1, 3), 7: (2, 3), 13: (3, 4)}  # by crops with the overview: the largest of each tier
TEXT_TOKENS = 24
# By what the widths of MolmoE-1B are divided, and the number of vision blocks.
SIZES = {"molmoe": (1, 23), "medium": (4, 23), "small": (16, 9)}
# Largest difference of a peer's logits, in parts of the largest logit.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--size", choices=list(SIZES), help="default: molmoe on a GPU, medium on a CPU")
    parser.add_argument("--tokens", type=int, default=600, help="prompt of the prefill and decode cases")
    parser.add_argument("--decode-tokens", type=int, default=16, help="decoded per measurement")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.size = args.size or ("molmoe" if args.device == "cuda" else "medium")
    with claim_device(args.device):
        result = benchmark(args)
    write_record(result, args.output)


def benchmark(args: Namespace) -> dict:
    dtype = torch.bfloat16 if args.device == "cuda" else torch.float32
    config = model_config(args.size)
    costs = CostModel(config, dtype.itemsize)
    check_memory(costs, args.device, args.size)
    device = describe_device(args.device, "measured", MolmoEBackend.decoding_on_gpu)
    rates = device_rates(device["name"], args.device, dtype, megabytes=64 if args.size == "small" else 1024)
    versions = {"python": platform.python_version(), **installed("torch", "transformers", "llama_cpp_python")}
    print(f"{device['name']}, {dtype}, size {args.size}, prompt of {args.tokens} tokens; {versions}")
    with torch.inference_mode():
        model = random_model(config, args.device, dtype, args.seed)
        own = own_cases(model, costs, args)
        print_ceiling(own, costs, rates)
        peers, missing = find_peers(model, args)
        cases = own + [case for peer in peers for case in peer.cases]
        measure(cases, args)
    rows = [summarise(case, rates) for case in cases]
    print_table(rows)
    ratios, strongest = compare(cases), strongest_peers(peers)
    for name, ratio in ratios.items():
        print(f"{name}: {ratio['value']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})")
    for stage, name in strongest.items():
        print(f"the strongest peer in {stage}: {name}")
    settings = {key: getattr(args, key) for key in ("size", "tokens", "decode_tokens", "repeats", "seed")}
    return {
        "benchmark": "engine",
        "device": device,
        "versions": versions,
        "dtype": str(dtype),
        **settings,
        "rates": rates,
        "cases": rows,
        "ratios": ratios,
        "strongest_peers": strongest,
        "missing_peers": missing,
    }


def installed(*packages: str) -> dict[str, str]:
    """Their versions, of those that are here."""
    versions = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def model_config(size: str) -> MolmoEConfig:
    part, vision_blocks = SIZES[size]
    vision = VisionConfig((336, 336), 14, 1024 // part, vision_blocks, 16 // part, 64, 4096 // part, 577, 1e-5)
    return MolmoEConfig(
        vision=vision,
        d_model=2048 // part,
        num_layers=16,
        num_heads=16 // part,
        num_experts=64,
        top_k=8,
        expert_dim=1024 // part,
        projector_dim=1024 // part,
        embedding_size=50304 // part,
        additional_vocab_size=128,
        rope_theta=10000.0,
        norm_eps=1e-5,
        max_positions=4096,
        vit_layers=(-2, -9),
        pooling=(2, 2),
        overlap_margins=(4, 4),
    )


def check_memory(costs: CostModel, device: str, size: str) -> None:
    """Raises AdaMolmoError when the weights do not fit as often as there are libraries with a copy of their own."""
    copies = 2 if device == "cuda" else 3
    needed = 1.1 * copies * costs.num_weights() * costs.element_bytes
    if device == "cuda":
        available = torch.cuda.mem_get_info()[0]
    else:
        available = 1024 * int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1])
    if needed > available:
        raise AdaMolmoError(
            f"--size {size} needs {needed / 2**30:.0f} GiB for {copies} copies of the weights, "
            f"{available / 2**30:.0f} GiB are free; expected enough, or --size medium."
        )


def random_model(config: MolmoEConfig, device: str, dtype, seed: int):
    torch.manual_seed(seed)
    with torch.device("meta"):
        model = MolmoE(config)
    model = model.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    model.rotary = Rotary(config).to(device)
    for parameter in model.parameters():
        parameter.normal_(std=0.02) if parameter.dim() > 1 else parameter.fill_(1.0)
    return model


def own_cases(model, costs: CostModel, args: Namespace) -> list[Case]:
    """The engine's stages at all settings, and two whole requests."""
    settings = {(k, b): DecoderKnobs(k, (*range(b - 1), 15)) for k, b in SETTINGS}
    prompt, decoder = random_prompt(model, args), greedy_decoder(model, None)
    cache = decoder.new_cache(args.tokens + args.decode_tokens + 1)
    state = {}

    def prefill(knobs: DecoderKnobs):
        state["prefix"] = model.run_prefix(model.embed(prompt), cache=cache)
        state["first"] = model.next_token_logits(state["prefix"], knobs, cache).argmax(dim=-1)

    def decode(knobs: DecoderKnobs):
        decoder.continue_greedily(state["first"], state["prefix"], knobs, cache, args.decode_tokens + 1)

    prefill(model.full_knobs)
    cases = []
    for crops in TILINGS:
        pixels, masks = random_crops(model, crops)
        run_vision = lambda pixels=pixels, masks=masks: model.vision_backbone(pixels, masks)  # noqa: E731
        cases.append(Case(f"vision, {crops} crops", "image", run_vision, costs.vision(crops)))
    for (k, b), knobs in settings.items():
        cost = costs.prefix(args.tokens) + costs.adaptive(args.tokens, knobs)
        cases.append(Case(f"prefill k{k}-b{b}", "prompt", lambda knobs=knobs: prefill(knobs), cost))
    for (k, b), knobs in settings.items():
        steps = args.decode_tokens
        cost = costs.decode(args.tokens, steps, knobs)
        cost = Cost(cost.flops / steps, cost.bytes / steps)
        decoder.prepare(knobs)
        cases.append(Case(f"decode k{k}-b{b}", "token", lambda knobs=knobs: decode(knobs), cost, steps))
    return [*cases, request_case(model, costs, 7, 1), request_case(model, costs, 13, 4)]


def random_prompt(model, args: Namespace):
    return torch.randint(0, model.config.embedding_size, (1, args.tokens), device=model.lm_head.weight.device)


def random_crops(model, crops: int):
    vision, weight = model.config.vision, model.lm_head.weight
    pixels = torch.randn(1, crops, vision.num_positions - 1, 3 * vision.patch_size**2).to(weight.device, weight.dtype)
    return pixels, torch.ones(pixels.shape[:3], device=weight.device, dtype=weight.dtype)


def request_case(model, costs: CostModel, crops: int, new_tokens: int) -> Case:
    """Crops on the device to the answer on the host, at full knobs, with the prompt length of a real tiling."""
    config, knobs = model.config, model.full_knobs
    image_tokens = num_image_tokens(TILINGS[crops], PreprocessConfig.of_model(config))
    tokens = 1 + image_tokens + TEXT_TOKENS
    pixels, masks = random_crops(model, crops)
    index = torch.arange(1, 1 + crops * config.tokens_per_crop, device=pixels.device)
    index = index.where(index < image_tokens, -1).view(1, crops, -1)  # margins that crops share have no token
    ids = torch.zeros(1, tokens, dtype=torch.int64, device=pixels.device)
    decoder = greedy_decoder(model, None)
    decoder.prepare(knobs)

    def answer():
        prompt = model.embed(ids, model.vision_backbone(pixels, masks), index)
        cache = decoder.new_cache(tokens + new_tokens)
        prefix = model.run_prefix(prompt, cache=cache)
        first = model.next_token_logits(prefix, knobs, cache).argmax(dim=-1)
        return decoder.continue_greedily(first, prefix, knobs, cache, new_tokens)

    cost = costs.vision(crops) + costs.prefix(tokens) + costs.adaptive(tokens, knobs)
    cost += costs.decode(tokens, new_tokens - 1, knobs)
    return Case(f"request, {crops} crops, {tokens} + {new_tokens} tokens", "request", answer, cost)


def find_peers(model, args: Namespace) -> tuple[list[Peer], dict[str, str]]:
    """Those that are installed, after a check that they compute the same; why the others are missing."""
    from transformers_peer import compiled_peer, eager_peer  # transformers may look at the GPUs, so after the claim

    twin, prompt = olmoe_twin(model), random_prompt(model, args)
    own = model.next_token_logits(model.run_prefix(model.embed(prompt)), model.full_knobs)[0]  # [vocabulary]
    makers, missing = [eager_peer], {}
    if any(map(shutil.which, ("c++", "g++", "clang++"))):
        makers.append(compiled_peer)
    else:
        missing["transformers compiled"] = "torch.compile finds no C++ compiler"
    try:
        from llama_cpp_peer import llama_cpp_peer  # in no environment of the study

        if args.device == "cpu":
            makers.append(llama_cpp_peer)
    except ImportError as error:
        missing["llama.cpp"] = f"{error.name} is not installed"
    for name, reason in missing.items():
        print(f"no {name} beside it: {reason} (benchmarks/README.md)")
    peers = []
    for maker in makers:
        peers.append(maker(twin, prompt, args.decode_tokens))
        compare_logits(own, peers[-1])
    return peers, missing


def compare_logits(own, peer: Peer) -> None:
    """Raises AdaMolmoError for a peer that computes something else."""
    for case, logits in peer.logits.items():
        difference = float((own - logits[: len(own)].to(own)).abs().max() / own.abs().max())
        print(f"logits of {case}: they differ from the engine's by {100 * difference:.2g} % of the largest")
        if difference > TOLERANCE[own.dtype]:
            raise AdaMolmoError(f"{case}: logits differ by {100 * difference:.3g} %; expected the same model.")


def measure(cases: list[Case], args: Namespace) -> None:
    """Rounds of warm-up, two or as few as repeats, then each repeat runs all cases in a new random order."""
    rng = np.random.default_rng(args.seed)
    for _ in range(min(2, args.repeats)):
        for case in progress(cases, "warm-up, cases", len(cases)):
            case.run()
    for _ in progress(range(args.repeats), "repeats", args.repeats):
        for index in rng.permutation(len(cases)):
            cases[index].ms.append(timed_ms(cases[index].run) / cases[index].count)


def ceiling_ms(cost: Cost, rates: dict) -> float:
    return 1e3 * max(cost.flops / rates["flops_per_s"], cost.bytes / rates["bytes_per_s"])


def print_ceiling(cases: list[Case], costs: CostModel, rates: dict) -> None:
    print(
        f"ceiling at {rates['flops_per_s'] / 1e12:.3g} TFLOP/s and {rates['bytes_per_s'] / 1e9:.0f} GB/s "
        f"({rates['source']}); {costs.num_weights() / 1e9:.2f} billion weights of {costs.element_bytes} bytes\n"
        f"  PyTorch's matrix product reaches {share_pct('flops_per_s', rates):.0f} % of these operations, its sum of a "
        f"tensor {share_pct('bytes_per_s', rates):.0f} % of these bytes"
    )
    for case in cases:
        print(
            f"  {case.name:38} {case.cost.flops / 1e9:9.1f} GFLOP {case.cost.bytes / 1e9:8.3f} GB "
            f"{ceiling_ms(case.cost, rates):9.3f} ms per {case.unit}"
        )


def share_pct(rate: str, rates: dict) -> float:
    return 100 * rates["torch"][rate] / rates[rate]


def summarise(case: Case, rates: dict) -> dict:
    low, median, high = np.quantile(case.ms, [0.25, 0.5, 0.75]).tolist()
    row = {"name": case.name, "unit": case.unit, "median_ms": median, "quartiles_ms": [low, high]}
    row["variation_pct"] = float(100 * np.std(case.ms) / np.mean(case.ms))
    if case.cost is not None:
        row["cost"] = asdict(case.cost)
        row["ceiling_ms"] = ceiling_ms(case.cost, rates)
        row["share_of_ceiling_pct"] = 100 * row["ceiling_ms"] / median
    return row


def print_table(rows: list[dict]) -> None:
    print(f"{'case':40} {'median':>10} {'quartiles':>21} {'ms per':8} {'of ceiling':>10}")
    for row in rows:
        low, high = row["quartiles_ms"]
        share = f"{row['share_of_ceiling_pct']:.0f} %" if "ceiling_ms" in row else ""
        print(f"{row['name']:40} {row['median_ms']:10.3f} {low:10.3f}-{high:10.3f} {row['unit']:8} {share:>10}")


def compare(cases: list[Case]) -> dict:
    """Ratios of two cases' times, 95 % interval over the repeats. Above 1 means that the second one is faster."""
    by_name = {case.name: np.array(case.ms) for case in cases}
    pairs = {}
    for stage in ("prefill", "decode"):
        own = by_name[f"{stage} k8-b16"]
        for name in by_name:
            if name.startswith(f"{stage} ") and not name.startswith(f"{stage} k"):
                pairs[f"{name} / {stage} k8-b16"] = by_name[name], own
        for cheaper in ("k4-b16", "k8-b12"):
            pairs[f"{stage} k8-b16 / {cheaper}"] = own, by_name[f"{stage} {cheaper}"]
    return {name: vars(median_interval(slow / fast)) for name, (slow, fast) in pairs.items()}


def strongest_peers(peers: list[Peer]) -> dict[str, str]:
    """By stage the case with the smallest median."""
    strongest = {}
    for stage in ("prefill", "decode"):
        cases = [case for peer in peers for case in peer.cases if case.name.startswith(f"{stage} ")]
        strongest[stage] = min(cases, key=lambda case: np.median(case.ms)).name
    return strongest


if __name__ == "__main__":
    run(main)
