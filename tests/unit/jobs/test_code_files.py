"""The source files that a script depends on."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from adamolmo.jobs.code_files import code_files, code_version

ROOT = Path(__file__).parents[3]
HAS_LMMS_EVAL = find_spec("lmms_eval") is not None
SCRIPTS = sorted((ROOT / "workflow/scripts").glob("*.py"))

FILES = {
    "adamolmo/__init__.py": "",
    "adamolmo/a.py": "import numpy\nfrom adamolmo import b\n",
    "adamolmo/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from adamolmo import unused\n",
    "adamolmo/unused.py": "",
    "adamolmo/cycle.py": "from adamolmo.a import cycle\nimport adamolmo.cycle\n",
    "adamolmo/sub/__init__.py": "",
    "adamolmo/sub/c.py": "from . import d\nfrom ..a import name\n",
    "adamolmo/sub/d.py": "def late():\n    import adamolmo.cycle\n",
    "adamolmo/other/__init__.py": "",
}


@pytest.fixture
def source(tmp_path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "src"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import json\n", []),
        ("from adamolmo.a import thing\n", ["__init__", "a", "b"]),
        ("import adamolmo.b as x\n", ["__init__", "b"]),
        ("from adamolmo.sub.c import d\n", ["__init__", "a", "b", "cycle", "sub/__init__", "sub/c", "sub/d"]),
        ("def f():\n    if True:\n        from adamolmo.sub import d\n", None),
    ],
)
def test_transitive_imports(source, text, expected):
    script = source.parent / "script.py"
    script.write_text(text)
    expected = ["__init__", "a", "b", "cycle", "sub/__init__", "sub/d"] if expected is None else expected
    assert code_files(script, source) == [script, *(source / "adamolmo" / f"{name}.py" for name in expected)]


def test_version_is_of_names_and_content(source, tmp_path):
    files = [source / "adamolmo/a.py", source / "adamolmo/b.py"]
    version = code_version(files, tmp_path)
    files[0].touch()
    assert code_version(files[::-1], tmp_path) == version
    shutil.copytree(source, tmp_path / "clone/src")
    assert (
        code_version([tmp_path / "clone" / path.relative_to(tmp_path) for path in files], tmp_path / "clone") == version
    )
    assert code_version([*files, source / "adamolmo/__init__.py"], tmp_path) != version
    files[0].write_text(files[0].read_text() + "#")
    assert code_version(files, tmp_path) != version


LOAD_EACH_SCRIPT = """
import importlib.util, json, sys
loaded = {}
for script in sys.argv[1:]:
    for name in [name for name in sys.modules if name.split(".")[0] == "adamolmo"]:
        del sys.modules[name]
    spec = importlib.util.spec_from_file_location("script", script)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    loaded[script] = [m.__file__ for name, m in sys.modules.items() if name.split(".")[0] == "adamolmo"]
print(json.dumps(loaded))
"""


def test_every_module_that_a_script_loads_is_found():
    """What is loaded by importing a script is a subset: imports inside functions come on top."""
    scripts = [path for path in SCRIPTS if HAS_LMMS_EVAL or "lmms_eval" not in path.name]
    command = [sys.executable, "-c", LOAD_EACH_SCRIPT, *map(str, scripts)]
    loaded = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert len(loaded) > 10
    for script, files in loaded.items():
        assert files, script
        assert {Path(file).resolve() for file in files} <= {p.resolve() for p in code_files(script, ROOT / "src")}
