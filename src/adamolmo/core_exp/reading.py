"""Profiles of several datasets together: their latencies may stand in one table only if one device made them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from adamolmo.errors import AdaMolmoError
from adamolmo.files.core_exp import CORE_EXP
from adamolmo.files.schema import read_table

SHARED = ("model_checksum", "clock", "device")


def read_profiles(paths: Sequence[str | Path], columns: Sequence[str] | None = None) -> tuple[pd.DataFrame, dict]:
    """The rows of core_exp tables one after the other, and the metadata they share: model_checksum, clock, device.

    Raises AdaMolmoError when a file is unusable, or two were made with another model, clock or device.
    """
    tables = [read_table(path, CORE_EXP, columns) for path in paths]
    shared = {key: tables[0][1][key] for key in SHARED}
    for path, (_, metadata) in zip(paths, tables, strict=True):
        for key, value in shared.items():
            if metadata[key] != value:
                raise AdaMolmoError(
                    f"{path}: was made with {key} {metadata[key]}, but {paths[0]} with {value}; "
                    "expected profiles of one model, clock and device."
                )
    return pd.concat([table for table, _ in tables], ignore_index=True), shared
