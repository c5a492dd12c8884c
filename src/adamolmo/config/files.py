"""The configuration's YAML files: read, and merged as Snakemake merges them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from adamolmo.config.yaml_text import MOST_BYTES, parse_yaml
from adamolmo.errors import AdaMolmoError, absence

_PROGRAM = "__use_yte__"  # makes a YAML file a program in YTE, the language of templates that Snakemake knows


def read_yaml(path: str | Path) -> dict:
    """Raises AdaMolmoError that names the file."""
    if not absence(path) and not os.path.isfile(path):  # a pipe can be read once, and the study reads it twice
        raise AdaMolmoError(f"{path}: is no regular file; expected a YAML file.")
    try:
        with open(path, "rb") as file:
            content = parse_yaml(file.read(MOST_BYTES + 1))
    except OSError as error:
        raise AdaMolmoError(f"{path}: cannot be read as YAML ({error.strerror}).") from error
    except (ValueError, yaml.YAMLError) as error:
        raise AdaMolmoError(f"{path}: cannot be read as YAML ({reason(error)}).") from error
    if not isinstance(content, dict):
        found = {list: "a list", str: "a text", type(None): "nothing"}.get(type(content), "one value")
        raise AdaMolmoError(f"{path}: holds {found}; expected keys and values.")
    if _PROGRAM in content:
        raise AdaMolmoError(f"{path}: key '{_PROGRAM}': Snakemake would run what follows; expected values.")
    return content


def reason(error: Exception) -> str:
    """What is wrong, and in which line."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    problem = " ".join(problem.split())
    return f"line {mark.line + 1}: {problem}" if mark else problem


def typed(value: Any) -> Any:
    """Of `--config`, where Snakemake leaves every number inside a list or section a text: as a file would have it."""
    if isinstance(value, Mapping):
        return {key: typed(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [typed(entry) for entry in value]
    try:
        found = parse_yaml(value.encode()) if isinstance(value, str) else value
    except (ValueError, yaml.YAMLError):
        return value
    return value if isinstance(found, Mapping | list) else found


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
