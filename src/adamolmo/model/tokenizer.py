"""Text to ids and back, and the exact prompt that MolmoE was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer as Backend

from adamolmo.data.options import with_options
from adamolmo.errors import AdaMolmoError, quoted
from adamolmo.model.config import MolmoEConfig

# Styles of the official formatter that are written differently in the prompt.
STYLE_PREFIXES = {"demo": None, "eval_short_answer": "vqa2", "eval_multiple_choice": "a_okvqa_mc"}


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that have a meaning of their own. `eos` is BOS as well."""

    eos: int
    im_start: int
    im_end: int
    im_patch: int
    im_col: int
    image: int


SPECIAL_NAMES = {
    "eos": "<|endoftext|>",
    "im_start": "<im_start>",
    "im_end": "<im_end>",
    "im_patch": "<im_patch>",
    "im_col": "<im_col>",
    "image": "<|image|>",
}


def format_prompt(question: str, style: str | None, options: Sequence[str] = ()) -> str:
    """The text after the image, as in Molmo's evaluation: " User: {style}: {question} Assistant:".

    Style None and "demo" have no prefix. Raises AdaMolmoError for more than 26 options.
    """
    prefix = STYLE_PREFIXES.get(style, style)
    question = with_options(question, options)
    return f" User: {prefix}: {question} Assistant:" if prefix else f" User: {question} Assistant:"


class Tokenizer:
    """A `tokenizers` vocabulary with MolmoE's special tokens."""

    def __init__(self, backend: Backend, specials: SpecialTokens) -> None:
        self._backend = backend
        self.specials = specials
        self.eos_id = specials.eos

    @classmethod
    def load(cls, directory: str | Path) -> "Tokenizer":
        """Reads `tokenizer.json`. The special tokens' ids are looked up in it by name: the released
        `added_tokens.json` is stale and ignored. Raises AdaMolmoError for an unreadable file or a missing token."""
        path = Path(directory) / "tokenizer.json"
        if not path.is_file():
            raise AdaMolmoError(f"{path} does not exist: expected the tokenizer's vocabulary")
        try:
            backend = Backend.from_file(str(path))
        except Exception as error:  # the library raises plain Exception for every defect of the file
            raise AdaMolmoError(f"{path} is not a tokenizer of the `tokenizers` library: {error}") from None
        backend.no_padding()
        backend.no_truncation()
        backend.encode_special_tokens = True  # "<im_patch>" in a question is text: it stands for no part of an image
        ids = {field: backend.token_to_id(name) for field, name in SPECIAL_NAMES.items()}
        for field, token_id in ids.items():
            if token_id is None:
                raise AdaMolmoError(f"{path} has no token {SPECIAL_NAMES[field]!r}: expected it in the vocabulary")
        return cls(backend, SpecialTokens(**ids))

    def fitting(self, config: MolmoEConfig) -> Self:
        """Itself. Raises AdaMolmoError when it has ids that the model has no embedding of, or an end that the model
        cannot say."""
        largest = max(self._backend.get_vocab(with_added_tokens=True).values())
        rows = config.embedding_size + config.additional_vocab_size
        if largest >= rows:
            raise AdaMolmoError(f"tokenizer.json has ids up to {largest}; the model's embedding has {rows} rows.")
        if self.eos_id >= config.embedding_size:
            raise AdaMolmoError(
                f"tokenizer.json has {SPECIAL_NAMES['eos']} as {self.eos_id}; the model can say ids below "
                f"{config.embedding_size}."
            )
        return self

    def encode(self, text: str) -> list[int]:
        """Ids of the text alone: no BOS or EOS is added, and none of the text is a special token.

        Raises AdaMolmoError where the vocabulary takes a part of the text for one all the same.
        """
        ids = self._backend.encode(text, add_special_tokens=False).ids
        if found := set(ids) & set(vars(self.specials).values()):
            raise AdaMolmoError(f"the text {quoted(text)} has the special token {min(found)}; expected plain text.")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text up to the first EOS, special tokens left out."""
        ids = list(ids)
        if self.eos_id in ids:
            ids = ids[: ids.index(self.eos_id)]
        return self._backend.decode(ids, skip_special_tokens=True)
