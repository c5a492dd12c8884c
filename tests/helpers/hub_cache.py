"""Repositories of the Hugging Face Hub, fabricated in a local cache: the Hub's layout, schemas and sharding."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from adamolmo.model.config import MolmoEConfig

if TYPE_CHECKING:
    import torch

    from adamolmo.model.molmoe import MolmoE

COMMIT = "0123456789abcdef0123456789abcdef01234567"
IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def repository(cache: Path, kind: str, name: str) -> Path:
    """The folder to put a repository's files in."""
    root = cache / f"{kind}s--{name.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    folder = root / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    return folder


def picture(number: int, file_format: str = "JPEG") -> bytes:
    """A small image file; other numbers give other images."""
    pixels = np.random.default_rng(number).integers(0, 256, (30 + number % 20, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=file_format)
    return file.getvalue()


def image_entry(number: int) -> dict:
    return {"bytes": picture(number), "path": f"{number}.jpg"}


def write_rows(path: Path, rows: Sequence[Mapping], image_column: str = "image", rows_per_group: int = 8) -> None:
    """A Parquet file as `datasets` writes it: images are structs, the features stand in the metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([dict(row) for row in rows])
    if image_column in table.column_names:
        images = pa.array([row[image_column] for row in rows], IMAGE_TYPE)
        table = table.set_column(table.column_names.index(image_column), image_column, images)
    features = {image_column: {"_type": "Image"}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=rows_per_group)


def text_vqa_rows(count: int, first: int = 0) -> list[dict]:
    """Two questions per image; answers are a list of ten texts."""
    return [
        {
            "image_id": f"i{number // 2:04d}",
            "question_id": number,
            "question": f"what is number {number} ?",
            "image": image_entry(number // 2),
            "image_width": 40,
            "answers": [f"{number}"] * 7 + ["red"] * 3,
        }
        for number in range(first, first + count)
    ]


def vqa_v2_rows(count: int) -> list[dict]:
    """Three questions per image; answers are a list of structs."""
    return [
        {
            "question_type": "what",
            "answers": [
                {"answer": "red" if n % 2 else "two", "answer_confidence": "yes", "answer_id": n} for n in range(1, 11)
            ],
            "image_id": number // 3,
            "question_id": 100 + number,
            "question": f"what colour is {number} ?",
            "image": image_entry(5000 + number // 3),
        }
        for number in range(count)
    ]


def released_config(config: MolmoEConfig) -> dict:
    """The keys of the released config.json that matter, and some that do not."""
    vision = config.vision
    return {
        "model_type": "molmo",
        "architectures": ["OLMoForCausalLM"],
        "auto_map": {"AutoConfig": "config_molmoe.MolmoConfig"},
        "block_type": "moe",
        "d_model": config.d_model,
        "n_layers": config.num_layers,
        "n_heads": config.num_heads,
        "n_kv_heads": None,
        "moe_num_experts": config.num_experts,
        "moe_top_k": config.top_k,
        "moe_dropless": True,
        "mlp_hidden_size": 2 * config.projector_dim,
        "intermediate_size": config.expert_dim,
        "vocab_size": config.embedding_size - 2,
        "embedding_size": config.embedding_size,
        "additional_vocab_size": config.additional_vocab_size,
        "residual_dropout": 0.1,
        "rope_theta": config.rope_theta,
        "layer_norm_eps": config.norm_eps,
        "max_sequence_length": config.max_positions,
        "weight_tying": False,
        "vit_layers": list(config.vit_layers),
        "image_pooling_h": config.pooling[0],
        "image_pooling_w": config.pooling[1],
        "overlap_margins": list(config.overlap_margins),
        "vision_backbone": {
            "image_default_input_size": list(vision.image_size),
            "image_patch_size": vision.patch_size,
            "image_num_pos": vision.num_positions,
            "image_emb_dim": vision.width,
            "image_num_layers": vision.num_layers,
            "image_num_heads": vision.num_heads,
            "image_head_dim": vision.head_dim,
            "image_mlp_dim": vision.mlp_dim,
            "image_norm_eps": vision.norm_eps,
        },
    }


def write_released_checkpoint(folder: Path, model: "MolmoE", shards: int, dtype: "torch.dtype") -> None:
    """config.json and the weights in the released names, in several files with an index."""
    from safetensors.torch import save_file

    from adamolmo.model.layouts import unstack_experts

    (folder / "config.json").write_text(json.dumps(released_config(model.config)))
    tensors = {name: t.to(dtype) for name, t in unstack_experts(dict(model.state_dict())).items()}
    files = [f"model-{shard + 1:05d}-of-{shards:05d}.safetensors" for shard in range(shards)]
    weight_map = {name: files[number % shards] for number, name in enumerate(sorted(tensors))}
    for file in files:
        save_file(
            {n: tensors[n].contiguous() for n, f in weight_map.items() if f == file}, folder / file, {"format": "pt"}
        )
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map})
    )
