"""A finished study as one archive that says what it is, proves that it is whole, and can be run again.

The archive is an RO-Crate (Research Object Crate, Soiland-Reyes et al., 2022, doi 10.3233/DS-210053):

    ro-crate-metadata.json    what each file is, which workflow made it from which configuration
    manifest-sha256.txt       a checksum of every other file, as `sha256sum --check` reads it
    configuration.json        the study's whole configuration
    packages.txt              the version of every package of the environment
    code/                     the workflow, the library, the small model
    results/                  what the study made, without files that are larger than LARGEST_BYTES
"""

import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path

import adamolmo
from adamolmo.errors import AdaMolmoError
from adamolmo.files.catalogue import FILES
from adamolmo.files.writing import file_checksum, replacing

LARGEST_BYTES = 100_000_000
METADATA, MANIFEST = "ro-crate-metadata.json", "manifest-sha256.txt"
CONFIGURATION, PACKAGES = "configuration.json", "packages.txt"
_CODE = "Snakefile config.yaml config rules workflow envs profiles slurm src resources pyproject.toml README.md LICENSE"
# What two runs with the modelled clock have in common to the byte: neither the name of the study nor the machine.
_EQUAL = re.compile(r"results/(?!report/|model/|study_id).*\.(parquet|json|safetensors|csv|tex|md)")
_TITLE = "AdaMolmo study: latency-adaptive vision-language inference"


def write_bundle(study: Path, code: Path, output: Path) -> list[str]:
    """Writes the archive; returns the names of the results that are too large for it, with size and checksum.

    Args:
        study: the directory with `results`, where the study ran.
        code: the repository, with the Snakefile.

    Raises AdaMolmoError when the study is not finished, there is no Snakefile, or `rocrate` is not installed.
    """
    configuration = study / "results/report/configuration.json"
    for path in (configuration, study / "results/report.html", code / "Snakefile"):
        if not path.is_file():
            raise AdaMolmoError(f"{path}: does not exist; expected a finished study: `make report` finishes it.")
    results = dict(_files(study, "results"))
    large = {name: path for name, path in results.items() if path.stat().st_size > LARGEST_BYTES}
    left_out = [
        f"{name} ({path.stat().st_size / 1e6:.0f} MB, sha256 {file_checksum(path)})" for name, path in large.items()
    ]
    content: dict[str, Path | bytes] = {CONFIGURATION: configuration.read_bytes(), PACKAGES: _packages()}
    content |= {f"code/{name}": path for part in _CODE.split() for name, path in _files(code, part)}
    content |= {name: path for name, path in results.items() if name not in large}
    sums = {name: _checksum(source) for name, source in sorted(content.items())}
    content[MANIFEST] = "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()
    crate = _crate(content, sums, left_out)
    with replacing(output) as path:
        crate.write_zip(path)
    return left_out


def verify_bundle(bundle: Path) -> int:
    """The number of files, all of which are as the archive's manifest says.

    Raises AdaMolmoError when a file is missing, changed or not in the manifest, or this is no bundle.
    """
    with _opened(bundle) as archive:
        expected = _manifest(archive, bundle)
        found = {name for name in archive.namelist() if not name.endswith("/")} - {METADATA, MANIFEST}
        for names, fault in ((expected.keys() - found, "is missing"), (found - expected.keys(), "is not its own")):
            if names:
                raise AdaMolmoError(f"{bundle}: {min(names)} {fault}; expected what its {MANIFEST} lists.")
        for name, digest in expected.items():
            if _checksum(_read(archive, name, bundle)) != digest:
                raise AdaMolmoError(f"{bundle}: {name} has been changed; expected the checksum of its {MANIFEST}.")
    return len(expected)


def run_again(bundle: Path, folder: Path, cores: int) -> tuple[int, list[str]]:
    """Runs the bundle's study in an empty folder; returns how many results were compared, and which differ.

    Raises AdaMolmoError when the bundle is damaged, the folder is not empty, latencies were measured, so that no two
    runs are equal, or the run fails.
    """
    verify_bundle(bundle)
    if folder.exists() and any(folder.iterdir()):
        raise AdaMolmoError(f"{folder}: is not empty; expected an empty folder, or none.")
    with _opened(bundle) as archive:
        if (clock := json.loads(archive.read(CONFIGURATION))["latency"]["clock"]) != "modelled":
            raise AdaMolmoError(f"{bundle}: latency.clock is '{clock}'; expected 'modelled', whose runs are equal.")
        expected = {name: digest for name, digest in _manifest(archive, bundle).items() if _EQUAL.fullmatch(name)}
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith(("code/", CONFIGURATION))])
    study = folder / "study"
    study.mkdir()
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--snakefile", "../code/Snakefile"]
    # Before the library that is installed here: Snakemake's logger is one of its modules.
    environment = os.environ | {"PYTHONPATH": str((folder / "code/src").resolve())}
    run = subprocess.run([*command, "--configfile", f"../{CONFIGURATION}"], cwd=study, env=environment, check=False)
    if run.returncode:
        raise AdaMolmoError(f"{study}: the study failed there; its messages are above.")
    again = {name: study / name for name in expected}
    return len(again), [
        name for name, path in again.items() if not path.is_file() or file_checksum(path) != expected[name]
    ]


def _files(root: Path, part: str) -> Iterator[tuple[str, Path]]:
    """Name below `root` and path of every file of `part`, a file or a folder, in order."""
    start = root / part
    for path in [start] if start.is_file() else sorted(start.rglob("*")):
        name = path.relative_to(root)
        if path.is_file() and not any(part == "__pycache__" or part.endswith(".egg-info") for part in name.parts):
            yield str(name), path


def _packages() -> bytes:
    names = sorted({f"{found.metadata['Name'].lower()}=={found.version}" for found in distributions()})
    return "".join(f"{line}\n" for line in [f"# Python {platform.python_version()}", *names]).encode()


def _checksum(source: Path | bytes) -> str:
    return hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else file_checksum(source)


def _crate(content: Mapping[str, Path | bytes], sums: Mapping[str, str], left_out: list[str]):
    try:
        from rocrate.rocrate import ROCrate
    except ImportError as error:
        raise AdaMolmoError(
            "rocrate is not installed; expected it from `pip install -c envs/constraints.txt -e '.[bundle]'`."
        ) from error
    crate = ROCrate()
    crate.name = _TITLE
    crate.description = "Results, configuration, code and environment of one run of the study." + (
        f" Left out for their size: {'; '.join(left_out)}." if left_out else ""
    )
    crate.license = "https://www.apache.org/licenses/LICENSE-2.0"
    entities = {}
    for name, source in content.items():
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        about = {"sha256": sums[name]} if name in sums else {}
        about |= {"name": name, "contentSize": str(size)} | _described(name)
        where = io.BytesIO(source) if isinstance(source, bytes) else source
        if name == "code/Snakefile":
            entities[name] = crate.add_workflow(where, name, main=True, lang="snakemake", properties=about)
        else:
            entities[name] = crate.add_file(where, name, properties=about)
    action = crate.add_action(
        instrument=entities["code/Snakefile"],
        object=[entities[CONFIGURATION]],
        result=[entity for name, entity in entities.items() if name.startswith("results/")],
        properties={"name": f"The run of the study, by adamolmo {adamolmo.__version__} on {platform.system()}"},
    )
    crate.root_dataset.append_to("mentions", action)
    return crate


def _described(name: str) -> dict[str, str]:
    """What a file is, where the library knows it."""
    known = {
        CONFIGURATION: "The study's whole configuration.",
        PACKAGES: "The version of every package of the environment that the study ran in.",
        MANIFEST: "sha256 of every other file but this and the metadata.",
        "results/report.html": "The report: open it first.",
        "results/examples.html": "Requests to look at.",
    }
    for kind in FILES:
        pattern = re.escape(kind.path).replace(r"\[", "(").replace(r"\]", ")?")
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", pattern), name):
            return {"description": getattr(kind, "meaning", None) or " ".join((kind.__doc__ or "").split())}
    return {"description": known[name]} if name in known else {}


def _opened(bundle: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(bundle)
    except (OSError, zipfile.BadZipFile) as error:
        raise AdaMolmoError(f"{bundle}: cannot be read as a bundle ({error}).") from error


def _manifest(archive: zipfile.ZipFile, bundle: Path) -> dict[str, str]:
    """Checksum by name."""
    if MANIFEST not in archive.namelist():
        raise AdaMolmoError(f"{bundle}: has no {MANIFEST}; expected what `adamolmo bundle` writes.")
    lines = _read(archive, MANIFEST, bundle).decode().splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def _read(archive: zipfile.ZipFile, name: str, bundle: Path) -> bytes:
    try:
        return archive.read(name)
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise AdaMolmoError(f"{bundle}: {name} has been changed; it cannot be read ({error}).") from error
