"""The configuration's YAML files: read, and merged as Snakemake merges them."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from adamolmo.errors import AdaMolmoError


def read_yaml(path: str | Path) -> dict:
    """Raises AdaMolmoError that names the file."""
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise AdaMolmoError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(content, dict):
        raise AdaMolmoError(f"{path}: holds a {type(content).__name__}; expected keys and values.")
    return content


def merge(base: Mapping, override: Mapping) -> dict:
    """`override` wins key by key, mappings are merged (as Snakemake merges its config files)."""
    merged = dict(base)
    for key, value in override.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def without_removed(raw: Mapping) -> dict:
    """Leaves out datasets, controllers of one's own, tiers and tasks that a later file has set to null."""
    kept = dict(raw)
    for section in ("datasets", "own_controllers"):
        if isinstance(raw.get(section), Mapping):
            kept[section] = _not_null(raw[section])
    for section, key in (("knobs", "tiers"), ("lmms_eval", "tasks")):
        if isinstance(raw.get(section), Mapping) and isinstance(raw[section].get(key), Mapping):
            kept[section] = {**raw[section], key: _not_null(raw[section][key])}
    return kept


def _not_null(entries: Mapping) -> dict:
    return {name: entry for name, entry in entries.items() if entry is not None}
