"""The Hugging Face Hub: files of a repository, downloaded when they are asked for and kept in the Hub's cache.

`huggingface_hub` is imported only here and only in the jobs that prepare data or the model. Without a network
(`HF_HUB_OFFLINE=1`, or a Hub that does not answer) whatever the cache holds is used.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from adamolmo.errors import AdaMolmoError
from adamolmo.progress import note

Kind = Literal["model", "dataset"]

# What prepare_model reads; weights in other formats and remote code stay on the Hub.
CHECKPOINT_FILES = (
    *("config.json", "config.yaml", "tokenizer.json", "*.safetensors", "*.safetensors.index.json"),
    # of the models of transformers
    *("generation_config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json"),
)


def is_repository_name(text: str) -> bool:
    """Whether `text` has the form owner/name."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", text) is not None


@dataclass(frozen=True)
class Repository:
    """A repository at one commit.

    Attributes:
        name: owner/name.
        commit: what the branch `main` was at when the repository was opened.
        files: names of all files (without a network: of those in the cache).
    """

    name: str
    kind: Kind
    commit: str
    files: tuple[str, ...]

    @classmethod
    def open(cls, name: str, kind: Kind) -> "Repository":
        """Raises AdaMolmoError: the Hub cannot be reached and the cache has nothing, or there is no such repository."""
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        with _one_sentence(name, kind):
            revision = HfApi().resolve_revision(name, repo_type=kind)  # without a network, the cached one
            try:
                files = HfApi().list_repo_files(name, repo_type=kind, revision=revision.resolved)
            except Exception as unreachable:  # of the network, the Hub or its client: whatever it is, try the cache
                try:
                    cached = snapshot_download(
                        name, repo_type=kind, revision=revision, local_files_only=True, allow_patterns=[]
                    )
                except LocalEntryNotFoundError:
                    raise unreachable from None
                files = [str(path.relative_to(cached)) for path in Path(cached).rglob("*") if path.is_file()]
        return cls(name, kind, revision.resolved, tuple(sorted(files)))

    def fetch(self, file: str) -> Path:
        """The file on this machine. Raises AdaMolmoError when it is neither in the cache nor to be had."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import disable_progress_bars

        if not sys.stderr.isatty():
            disable_progress_bars()
        with _one_sentence(self.name, self.kind, file):
            try:
                return Path(
                    hf_hub_download(self.name, file, repo_type=self.kind, revision=self.commit, local_files_only=True)
                )
            except FileNotFoundError:
                note(f"Download {file} of {self.name}")
                return Path(hf_hub_download(self.name, file, repo_type=self.kind, revision=self.commit))


def fetch_checkpoint(name: str) -> Path:
    """The directory on this machine of a model repository's checkpoint. Raises AdaMolmoError."""
    repository = Repository.open(name, "model")
    wanted = [file for file in repository.files if any(fnmatch(file, pattern) for pattern in CHECKPOINT_FILES)]
    if "config.json" not in wanted and "config.yaml" not in wanted:
        raise AdaMolmoError(f"repository '{name}' has no config.json; expected a checkpoint.")
    note(f"Model {name} at commit {repository.commit}")
    return [repository.fetch(file) for file in wanted][0].parent


@contextmanager
def _one_sentence(name: str, kind: Kind, file: str | None = None) -> Iterator[None]:
    """Turns what goes wrong with the Hub into one AdaMolmoError."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    what = f"{kind} repository '{name}'"
    try:
        yield
    except GatedRepoError as error:
        raise AdaMolmoError(
            f"{what} is gated: accept its terms on huggingface.co, log in with `hf auth login`, and run again."
        ) from error
    except RepositoryNotFoundError as error:
        raise AdaMolmoError(
            f"{what} does not exist on the Hugging Face Hub, or is private and needs `hf auth login`; "
            "expected the name of a repository, owner/name."
        ) from error
    except HFValidationError as error:
        raise AdaMolmoError(f"'{name}' is not a repository of the Hugging Face Hub; expected owner/name.") from error
    except Exception as error:
        wanted = f"{file} of {what}" if file else what
        cause = error.__cause__ or error
        reason = " ".join(f"{type(cause).__name__}: {cause}".split())[:120]
        raise AdaMolmoError(
            f"{wanted} cannot be had from the Hugging Face Hub ({reason}) and is not in the cache {HF_HUB_CACHE}; "
            "run prepare_data and prepare_model where the Hub can be reached, or copy that cache here."
        ) from error
