"""What Snakemake is given is looked at before it reads it: it would hang, end in a traceback, or run what it reads."""

import errno
import os

import pytest
from snakemake.cli import main

from adamolmo.config.files import typed
from adamolmo.config.yaml_text import parse_yaml
from adamolmo.errors import AdaMolmoError
from adamolmo.jobs.first_look import before_snakemake

MERGED = "m0: &m0 {k: 1}\n" + "".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}\n" for i in range(1, 31))
NESTED = "m0: &m0 {k: 1}\n" + "".join(f"m{i}: &m{i} {{a: *m{i - 1}, b: *m{i - 1}}}\n" for i in range(1, 41))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (MERGED, "(line 2: an alias; expected keys and values, lists, text and numbers, each written out)."),
        (NESTED, "(line 2: an alias; expected keys and values, lists, text and numbers, each written out)."),
        ("a: &a {b: *a}", "(line 1: an alias; expected"),
        ("a: " + "[" * 3000, "nested too deeply"),
        ("__use_yte__: true\nseed: ?open('ran', 'w')", "key '__use_yte__': Snakemake would run what follows"),
        ("seed: " + "9" * 5000, "Snakemake cannot read it (Exceeds the limit"),
        ("datasets: 2024-13-45", "Snakemake cannot read it (month must be in 1..12)."),
        ("<<: 3", "Snakemake cannot read it"),
        ("seed: 1".encode("utf-16"), "byte 0 is no UTF-8"),
        ("- 1", "holds a list; expected keys and values."),
    ],
)
def test_snakemake_stops_at_a_file_before_it_reads_it(tmp_path, monkeypatch, capsys, text, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text("seed: 1")
    (tmp_path / "bad.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    arguments = ["--logger", "adamolmo", "--snakefile", "none", "--configfile", "good.yaml", "bad.yaml", "--", "all"]
    monkeypatch.setattr("sys.argv", ["snakemake", *arguments])
    with pytest.raises(SystemExit) as exit:
        main()
    assert str(exit.value).startswith("error: bad.yaml: ") and sentence in str(exit.value)
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "ran").exists()


def test_a_file_that_a_profile_names_is_looked_at_too(tmp_path):
    (tmp_path / "bad.yaml").write_text("a: &a {b: *a}")
    (tmp_path / "profile.yaml").write_text(f"configfile: {tmp_path}/bad.yaml\n")
    with pytest.raises(AdaMolmoError, match="bad.yaml: cannot be read as YAML"):
        before_snakemake(["--profile", str(tmp_path), "--cores", "1"])


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("latency.clock=modelled", "is no key of the configuration's first level .*'latency={clock: modelled}'"),
        ("seed", "is no key"),
        ("=1", "is no key"),
        ("samples={importance: &a 6, profile: *a}", "an alias; expected"),
        ("seed=!!python/object/apply:os.system [ls]", "a tag; expected"),
        ("lookup={pooled: true, pooled: false}", "the key 'pooled' a second time"),
        ("seed=" + "[" * 3000, "nested too deeply"),
        ("seed=\x1b[2J", "special characters are not allowed"),
    ],
)
def test_what_config_says_is_looked_at_too(entry, sentence):
    with pytest.raises(AdaMolmoError, match=f"^--config: '.*{sentence}"):
        before_snakemake(["--cores", "1", "--config", "max_new_tokens=3", entry])


@pytest.mark.parametrize("value", [{"profile": "12"}, {"a": ["1e-3", "0.5"]}, {"b": "true"}, {"c": ["60pct", "null"]}])
def test_what_config_says_is_typed_as_in_a_file(value):
    written = str(value).replace('"', "").replace("'", "")
    assert typed(value) == parse_yaml(written.encode())
    assert typed(typed(value)) == typed(value)


@pytest.mark.parametrize("options", [["--config", "--config"], ["-C", "--config"]])
def test_two_options_of_values_are_not_one_of_both(options):
    first, second = options
    with pytest.raises(AdaMolmoError, match=f"{first} is given 2 times; expected once, with all keys behind it"):
        before_snakemake(["--cores", "1", first, "seed=1", f"{second}=max_new_tokens=3"])
    before_snakemake(["--cores", "1", first, "seed=1", "max_new_tokens=3", "--", second])


def test_a_key_that_is_given_twice():
    with pytest.raises(AdaMolmoError, match="--config: the key 'seed' is given 2 times; expected once"):
        before_snakemake(["--cores", "1", "--config", "seed=1", "max_new_tokens=3", "seed=2"])


@pytest.mark.parametrize("options", [["--configfile", "--configfile"], ["--configfile", "--configfiles"]])
def test_a_file_that_snakemake_would_forget_is_not_forgotten(tmp_path, options):
    for name in "ab":
        (tmp_path / name).write_text("seed: 1")
    first, second = options
    with pytest.raises(AdaMolmoError, match="--configfile is given 2 times; expected once, with all files behind it"):
        before_snakemake([first, str(tmp_path / "a"), f"{second}={tmp_path / 'b'}"])
    before_snakemake([first, str(tmp_path / "a"), str(tmp_path / "b"), "--", second])


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES, errno.EDQUOT])
def test_a_folder_that_cannot_be_written_is_one_sentence_unless_it_is_only_read(tmp_path, monkeypatch, number):
    def unwritable(**_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("adamolmo.jobs.first_look.TemporaryFile", unwritable)
    with pytest.raises(
        AdaMolmoError, match=f".snakemake: cannot be written .{os.strerror(number)}.; expected a folder"
    ):
        before_snakemake(["--cores", "1", "--directory", str(tmp_path)])
    before_snakemake(["--dry-run", "--directory", str(tmp_path)])


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(AdaMolmoError, match=".snakemake: cannot be written .Not a directory."):
        before_snakemake(["--cores", "1", "--directory", str(tmp_path / "mine")])


def test_what_can_be_read_once_alone_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AdaMolmoError, match="pipe: is no regular file; expected a YAML file"):
        before_snakemake(["--configfile", str(tmp_path / "pipe")])
