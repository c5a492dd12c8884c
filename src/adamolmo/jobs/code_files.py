"""Which source files of the package a script runs: found from its import statements, without running anything.

Snakemake compares the files' common version, so editing one reruns exactly the jobs whose script imports it.
"""

import ast
import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from adamolmo.errors import AdaMolmoError

PACKAGE = "adamolmo"


def code_files(script: str | Path, source: str | Path) -> list[Path]:
    """The script and all files below `source` (the directory that holds the package) that it imports, also indirectly;
    of a script that is not below it, also what lies beside it.

    Imports inside functions count; imports for type checkers alone do not. An import of `a.b.c` runs `a` and `a.b` too.

    Raises AdaMolmoError when a file cannot be read as Python.
    """
    source, script = Path(source), Path(script)
    found, waiting = {script}, [script]
    while waiting:
        new = _imported_files(waiting.pop(), source) - found
        found |= new
        waiting += new
    return [script, *sorted(found - {script})]


def code_version(files: Iterable[str | Path], root: str | Path) -> str:
    """A checksum of the files' names below `root` and their content, whatever their order."""
    digest = hashlib.sha256()
    for path in sorted(set(map(Path, files))):
        content = path.read_bytes()
        digest.update(f"{os.path.relpath(path, root)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


@cache  # one Snakemake run asks for the same files many times
def _imported_files(path: Path, source: Path) -> frozenset[Path]:
    """The files that the file itself imports, from the package and from its own folder if it is not of the package."""
    imported = _imported(path, source)
    of_package = {name for name in imported if name.split(".")[0] == PACKAGE}
    found = {file for name in of_package for file in _files(name, source)}
    if not path.is_relative_to(source):
        found |= {file for name in imported - of_package for file in _files(name, path.parent)}
    return frozenset(found)


def _imported(path: Path, source: Path) -> set[str]:
    """Dotted names that the file imports; `from a import b` gives `a.b`, whatever `b` is."""
    imported = set()
    for node in _walk(_parsed(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*_parents(path, source, node.level), *filter(None, [node.module])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        imported.update(names)
    return imported


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), str(path))
    except (OSError, SyntaxError, ValueError) as error:
        raise AdaMolmoError(f"{path}: cannot be read as a Python file ({error}).") from error


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Statements at any depth; not expressions, which hold none and are most of a file."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.expr) or _is_for_type_checkers(node):
            continue
        yield node
        yield from _walk(node)


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _parents(path: Path, source: Path, level: int) -> list[str]:
    """The package that a relative import of `level` dots starts from."""
    return list(path.relative_to(source).parts[:-level]) if level and path.is_relative_to(source) else []


def _files(module: str, source: Path) -> Iterator[Path]:
    """Files that importing `module` runs: every parent package and the module; a name inside a module gives none."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        path = source.joinpath(*parts[:end])
        for candidate in (path / "__init__.py", path.with_suffix(".py")):
            if candidate.is_file():
                yield candidate
