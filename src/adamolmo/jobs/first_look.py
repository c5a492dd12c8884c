"""A first look at what Snakemake is given, before it reads the files of `--configfile`.

Its reader hangs at a few lines of YAML that stand for billions of values, ends in a traceback at others, and runs what
a file calls a program (`__use_yte__`). A logger plugin is what Snakemake loads before that.
"""

import io
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from tempfile import TemporaryFile

import yaml
from snakemake.cli import parse_args
from snakemake.common.configfile import load_configfile

from adamolmo.config.files import read_yaml, reason
from adamolmo.config.yaml_text import parse_yaml
from adamolmo.errors import AdaMolmoError, quoted, stable
from adamolmo.jobs.caches import use_writable_caches

_ONLY_READS = ("dryrun", "dag", "rulegraph", "summary", "detailed_summary")
_LEAST_BYTES = 1 << 16
# Options of which Snakemake keeps the last alone, and how they are meant.
_GIVEN_ONCE = {
    r"--configfiles?(=|\Z)": "all files behind it: --configfile a.yaml b.yaml",
    r"--config(=|\Z)|-C": "all keys behind it: --config seed=1 max_new_tokens=3",
}


def before_snakemake(arguments: Sequence[str]) -> None:
    """Looks at what Snakemake is given, and gives it caches that it can write.

    Raises AdaMolmoError for a file or a value of `--config` that is not the part of YAML that a configuration is
    written in, for a second `--configfile`, `--config` or key of it, of which Snakemake would forget the first, and for
    a folder that cannot be written to.
    """
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    for form, meant in _GIVEN_ONCE.items():
        given = [match[0].rstrip("=") for option in options if (match := re.match(form, option))]
        if len(given) > 1:
            raise AdaMolmoError(f"{given[0]} is given {len(given)} times; expected once, with {meant}.")
    with redirect_stderr(io.StringIO()):  # it says again which profile it uses
        _, settings = parse_args(list(arguments))
    for path in settings.configfile:
        _check_file(path)
    _check_entries(settings.config or [])
    records = Path(settings.directory or ".", ".snakemake")
    if not any(getattr(settings, option, None) for option in _ONLY_READS):
        _check_place(records)
    use_writable_caches(records / "caches")


def _check_place(records: Path) -> None:
    """Where Snakemake keeps its lock and its log, without which it would end in a traceback."""
    try:
        records.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=records) as file:
            file.write(bytes(_LEAST_BYTES))
    except OSError as error:
        raise AdaMolmoError(
            f"{records}: cannot be written ({error.strerror}); expected a folder with room that you may write to: "
            "snakemake --directory FOLDER."
        ) from error


def _check_entries(entries: Sequence[str]) -> None:
    """Of `--config`."""
    for entry in entries:
        _check_entry(entry)
    for key, times in Counter(entry.partition("=")[0] for entry in entries).items():
        if times > 1:
            raise AdaMolmoError(f"--config: the key '{key}' is given {times} times; expected once.")


def _check_entry(entry: str) -> None:
    key, equals, value = entry.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w-]*", key):
        raise AdaMolmoError(
            f"--config: {quoted(entry)} is no key of the configuration's first level with a value; expected 'seed=1', "
            "and for a key inside a section 'latency={clock: modelled}'."
        )
    try:
        parse_yaml(value.encode(errors="surrogateescape"))
    except (ValueError, yaml.YAMLError) as error:
        raise AdaMolmoError(f"--config: {quoted(entry)} cannot be read as YAML ({reason(error)}).") from error


def _check_file(path: Path) -> None:
    read_yaml(path)
    try:
        load_configfile(path)  # it takes a date for a date, and a number of any length for one
    except Exception as error:
        raise AdaMolmoError(f"{path}: Snakemake cannot read it ({stable(str(error))}).") from error
