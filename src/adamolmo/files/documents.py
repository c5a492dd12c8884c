"""JSON files between rules: a model of the content per file, and its writing and reading with all checks.

Equal content gives equal bytes. Beside its content a file has the checksum of it, so that nothing that a fault or a
person changed is read as other numbers. The study's own documents are declared beside this file.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from adamolmo.errors import AdaMolmoError, no_file, stable
from adamolmo.faults import sentence
from adamolmo.files.writing import replacing

Clock = Literal["measured", "modelled"]
_CHECKSUM = "content_sha256"
Device = dict[str, str | int]  # as `inference.device.describe_device` says


class Part(BaseModel):
    """What stands inside of a document: exactly these keys, with finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


Kind = TypeVar("Kind", bound=Part)


class Document(Part):
    """A JSON file; the docstring of a kind of document says what it is.

    Attributes:
        path: where it lies.

    Raises AdaMolmoError when it is made of missing, unknown or impossible values.
    """

    path: ClassVar[str]

    def __init__(self, **content: Any) -> None:
        try:
            super().__init__(**content)
        except ValidationError as error:
            raise AdaMolmoError(sentence(error, type(self), lambda _: f"the document {name_of(type(self))}")) from error

    # As pydantic's own: it makes what it reads without calling __init__, so that JSON keeps the rules of JSON.
    __init__.__pydantic_base_init__ = True


class Failed(Part):
    """A sample that could not be used.

    Its reason may hold what another library said; here, on its way into a result, it becomes stable.
    """

    sample_id: str = Field(description="the question's id")
    reason: Annotated[str, AfterValidator(stable)] = Field(description="why, in one sentence")


def name_of(kind: type[Part]) -> str:
    """As sentences call it: 'cell summary'."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", kind.__name__).lower()


def write_json(document: Document, path: str | Path) -> None:
    """Raises AdaMolmoError when a number is not finite or the file cannot be written."""
    try:
        text = json.dumps(sealed(document.model_dump()), indent=1, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise AdaMolmoError(f"{path}: cannot be written as JSON ({error}).") from error
    with replacing(path) as temporary:
        temporary.write_text(text + "\n")


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """The content with the checksum that belongs to it, as it stands in the file."""
    content = {key: value for key, value in content.items() if key != _CHECKSUM}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return content | {_CHECKSUM: hashlib.sha256(canonical.encode()).hexdigest()}


def read_json(path: str | Path, kind: type[Kind]) -> Kind:
    """Raises AdaMolmoError that names the file when it is absent, truncated, changed or another document."""
    if fault := no_file(path):
        raise AdaMolmoError(f"{path}: {fault}; expected the JSON document {name_of(kind)}.")
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, kind, error) from error
    if not isinstance(found, dict):
        raise AdaMolmoError(f"{path}: holds a {type(found).__name__}; expected the JSON document {name_of(kind)}.")
    content = {key: value for key, value in found.items() if key != _CHECKSUM}
    document = parse_json(json.dumps(content), kind, path)
    if found != sealed(found):
        raise _unreadable(path, kind, "it was changed after it was written: its content is not what its checksum says")
    return document


def parse_json(text: str, kind: type[Kind], source: str | Path) -> Kind:
    """The content of `source`. Raises AdaMolmoError that names it when it is truncated or another document."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        if fault["type"] == "json_invalid":
            raise _unreadable(source, kind, fault["msg"]) from error
        raise AdaMolmoError(sentence(error, kind, lambda _: str(source))) from error


def _unreadable(source: str | Path, kind: type[Part], reason: Any) -> AdaMolmoError:
    return AdaMolmoError(
        f"{source}: cannot be read as the JSON document {name_of(kind)} ({reason}); "
        "if the study made it, delete the file and run Snakemake again to remake it."
    )
