"""The Hub when it answers, when it does not, and when there is no such repository."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import hub_cache
import pytest

from adamolmo.data.hub import Repository, fetch_checkpoint, is_repository_name
from adamolmo.errors import AdaMolmoError


class _Hub(BaseHTTPRequestHandler):
    """Knows one dataset, refuses access to a gated one, has no other."""

    def do_GET(self):
        if self.path.startswith("/api/datasets/lab/known/tree"):
            names = ["data/train-00000-of-00001.parquet", "README.md"]
            tree = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names]
            return self._answer(200, json.dumps(tree).encode())
        if self.path.startswith("/api/datasets/lab/known"):
            return self._answer(200, json.dumps({"id": "lab/known", "sha": hub_cache.COMMIT}).encode())
        gated = "gated" in self.path
        return self._answer(403 if gated else 404, b"{}", "GatedRepo" if gated else "RepoNotFound")

    def _answer(self, status: int, body: bytes, error_code: str | None = None):
        self.send_response(status)
        if error_code:
            self.send_header("X-Error-Code", error_code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub on this machine and an empty cache."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()


def error_of(name: str) -> str:
    with pytest.raises(AdaMolmoError) as error:
        Repository.open(name, "dataset")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_names():
    assert is_repository_name("allenai/MolmoE-1B-0924")
    assert not is_repository_name("results/embedded/checkpoint")
    assert not is_repository_name("nowhere")


def test_a_repository_is_opened_at_its_commit(hub, tmp_path):
    repository = Repository.open("lab/known", "dataset")
    assert repository.commit == hub_cache.COMMIT
    assert repository.files == ("README.md", "data/train-00000-of-00001.parquet")
    assert (tmp_path / "datasets--lab--known/refs/main").read_text() == hub_cache.COMMIT  # for a run without network


def test_a_wrong_repository(hub):
    assert error_of("lab/unknown").startswith("dataset repository 'lab/unknown' does not exist on the Hugging Face Hub")
    assert "is gated: accept its terms" in error_of("lab/gated")


def test_an_unreachable_hub(hub, tmp_path, monkeypatch):
    hub.shutdown()
    hub.server_close()
    sentence = error_of("lab/known")
    assert sentence.startswith("dataset repository 'lab/known' cannot be had from the Hugging Face Hub (")
    assert str(tmp_path) in sentence
    hub_cache.repository(tmp_path, "dataset", "lab/known").joinpath("a.parquet").write_bytes(b"x")
    repository = Repository.open("lab/known", "dataset")  # the cache has it
    assert repository.files == ("a.parquet",)
    assert repository.fetch("a.parquet").read_bytes() == b"x"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(AdaMolmoError, match="b.parquet of dataset repository 'lab/known' cannot be had"):
        repository.fetch("b.parquet")


def test_a_repository_without_a_checkpoint(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = hub_cache.repository(tmp_path, "model", "lab/empty")
    (folder / "modeling.py").write_text("raise SystemExit")
    with pytest.raises(AdaMolmoError, match="repository 'lab/empty' has no config.json; expected a checkpoint"):
        fetch_checkpoint("lab/empty")
    (folder / "config.json").write_text("{}")
    assert fetch_checkpoint("lab/empty") == folder
