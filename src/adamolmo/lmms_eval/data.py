"""Task data on disk: prepared once where there is a network, read ever after without one."""

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import datasets
from datasets.utils.logging import disable_progress_bar
from lmms_eval.api.task import ConfigurableTask

from adamolmo.data.images import MOST_PIXELS, as_rgb, read_image
from adamolmo.errors import AdaMolmoError
from adamolmo.files.documents import read_json, write_json
from adamolmo.files.lmms_eval import TaskData
from adamolmo.files.samples import SAMPLES
from adamolmo.files.schema import read_table
from adamolmo.lmms_eval.stock import load_config

_MANIFEST = "prepared.json"
# Tasks whose score asks a service on the network, and their twins that do without.
_SCORED_ELSEWHERE = {"mmbench_en_dev": "mmbench_en_dev_static"}


def prepare(task: str, source: Path | None, target: Path) -> None:
    """Writes the split that the task evaluates to `target`, with what describes it.

    Args:
        source: directory with copies of Hub repositories (`<source>/lmms-lab-encoder/MME`); None for the Hub itself.

    Raises AdaMolmoError for an unknown task and for data that cannot be had.
    """
    config = load_config(task)
    repository, name, split = _origin(task, config)
    origin = repository if source is None else source / repository
    if source is not None and not origin.is_dir():
        raise AdaMolmoError(f"{origin}: does not exist; expected a copy of the Hub's {repository} for task '{task}'.")
    with _scratch(target) as scratch:
        try:
            # Only the wanted split is fetched: these repositories hold the training images as well.
            builder = datasets.load_dataset_builder(str(origin), name, cache_dir=str(scratch))
            files = {split: builder.config.data_files[split]}
            kind = type(builder).__module__.rpartition(".")[2]
            documents = datasets.load_dataset(kind, data_files=files, split=split, cache_dir=str(scratch))
        except Exception as error:  # the library raises everything from KeyError to its own kinds
            raise _not_had(task, f"split '{split}' of {origin}", error) from error
        _write(documents, target, task, repository, name, split)


def prepare_own(task: str, samples: Path, target: Path) -> None:
    """The same for a task on a dataset of the study; `samples` is its prepared evaluation split."""
    repository, name, split = _origin(task, load_config(task))
    table, _ = read_table(samples, SAMPLES)
    table["image"] = [{"bytes": image, "path": None} for image in table["image"]]
    text = datasets.Value("string")
    features = {"sample_id": text, "image_id": text, "image": datasets.Image(), "question": text}
    features["answers"] = datasets.List(text)
    documents = datasets.Dataset.from_dict(table.to_dict("list"), datasets.Features(features))
    with _scratch(target):
        _write(documents, target, task, repository, name, split)


@contextmanager
def task_data(
    data: Path | None,
    failing: Callable[[], AbstractContextManager] = nullcontext,
    max_pixels: int = MOST_PIXELS,
) -> Iterator[None]:
    """Within it lmms-eval gets every task's documents from `data`, and nothing connects to a network; with None it
    fetches them from the Hub. Their images are read as the study's are; larger ones than `max_pixels` are refused.

    lmms-eval has no setting for that: the one place where a task gets its documents is replaced, and with it its five
    attempts of two seconds that hide the reason. `failing` surrounds that place. Raises AdaMolmoError when a task's
    data is not there.
    """
    original = ConfigurableTask.download

    def read(task: ConfigurableTask, options: dict | None = None) -> None:
        task.DATASET_PATH = str(find_prepared(data, task.config.task) / "documents")
        original.__wrapped__(task, {"load_from_disk": True})

    def fetch(task: ConfigurableTask, options: dict | None = None) -> None:
        options = {key: value for key, value in (options or {}).items() if key != "token"}  # a login is not needed
        try:
            original.__wrapped__(task, options)
        except Exception as error:  # the library raises everything from KeyError to its own kinds
            raise _not_had(task.config.task, f"its data {task.DATASET_PATH}", error) from error

    def download(task: ConfigurableTask, dataset_kwargs: dict | None = None) -> None:
        with failing():
            (fetch if data is None else read)(task, dataset_kwargs)

    ConfigurableTask.download = download
    try:
        with nullcontext() if data is None else _no_network(), _images_read_here(max_pixels):
            yield
    finally:
        ConfigurableTask.download = original


@contextmanager
def _images_read_here(max_pixels: int) -> Iterator[None]:
    """The images of documents come from `data.images`, one sentence if they cannot be read."""
    decode, fault = datasets.Image.decode_example, "an image of the task's documents cannot be read"

    def read(self: datasets.Image, value, token_per_repo_id=None):
        if isinstance(value, dict) and value["bytes"] is not None:
            return read_image(value["bytes"], fault, max_pixels)
        return as_rgb(decode(self, value, token_per_repo_id), fault)

    datasets.Image.decode_example = read
    try:
        yield
    finally:
        datasets.Image.decode_example = decode


@contextmanager
def scored_once() -> Iterator[None]:
    """Within it an error in a task's scoring is raised at once: lmms-eval tries five times, and then hides it."""
    score = ConfigurableTask.process_results
    ConfigurableTask.process_results = score.__wrapped__
    try:
        yield
    finally:
        ConfigurableTask.process_results = score


def find_prepared(data: Path, task: str) -> Path:
    """The task's folder. Raises AdaMolmoError when it is missing, is another task's, or cannot be scored offline."""
    if task in _SCORED_ELSEWHERE:
        raise AdaMolmoError(
            f"task '{task}' is scored by a service on the network; expected '{_SCORED_ELSEWHERE[task]}', the same "
            "documents scored here, or no directory of prepared data (lmms_eval.data: null)."
        )
    folder = data / task
    if not (folder / _MANIFEST).is_file():
        raise AdaMolmoError(
            f"{folder}: task '{task}' has no prepared data; run `snakemake lmms_eval_data` where there is a network."
        )
    found = read_json(folder / _MANIFEST, TaskData).task
    if found != task:
        raise AdaMolmoError(f"{folder / _MANIFEST}: holds the data of task '{found}'; expected '{task}'.")
    return folder


def _not_had(task: str, what: str, error: Exception) -> AdaMolmoError:
    reason = " ".join(str(error).split())
    return AdaMolmoError(
        f"task '{task}': {what} cannot be had ({type(error).__name__}: {reason:.300}); expected network access to the "
        "Hub, or data prepared from a copy of it (lmms_eval.data and lmms_eval.source)."
    )


def _origin(task: str, config: dict) -> tuple[str, str | None, str]:
    """Repository, its configuration's name, and the split that is evaluated."""
    split = config.get("test_split") or config.get("validation_split")
    if "dataset_path" not in config or split is None:
        raise AdaMolmoError(
            f"task '{task}' names no data of the Hub; expected dataset_path and test_split in its file."
        )
    return config["dataset_path"], config.get("dataset_name"), split


def _write(documents, target: Path, task: str, repository: str, name: str | None, split: str) -> None:
    shutil.rmtree(target, ignore_errors=True)
    datasets.DatasetDict({split: documents}).save_to_disk(str(target / "documents"))
    content = TaskData(task=task, repository=repository, name=name, split=split, num_documents=len(documents))
    write_json(content, target / _MANIFEST)


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A cache of the datasets library beside `target`, gone afterwards: a kept one answers with yesterday's data."""
    disable_progress_bar()
    scratch = target.with_name(f"{target.name}.scratch")
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _no_network() -> Iterator[None]:
    """Whoever looks up or connects to another machine gets an error that says so."""

    def refuse(address) -> None:
        raise ConnectionRefusedError(f"{address}: the network is not used while task data is prepared data")

    def connect(self: socket.socket, address) -> None:
        return original_connect(self, address) if self.family == socket.AF_UNIX else refuse(address)

    original_connect, original_lookup = socket.socket.connect, socket.getaddrinfo
    socket.socket.connect = connect
    socket.getaddrinfo = lambda host, *args, **kwargs: refuse(host)
    try:
        yield
    finally:
        socket.socket.connect, socket.getaddrinfo = original_connect, original_lookup
