"""The embedded model's tokenizer: one token per word of the procedural datasets, one per digit."""

from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from adamolmo.data.procedural import RELATIONS
from adamolmo.embedded.labels import COLOUR_LABELS, PART_LABELS
from adamolmo.embedded.recipe import STYLES
from adamolmo.model.tokenizer import SPECIAL_NAMES

_WORDS = """User Assistant what is the of on sign number first last digit digits sum how many are there objects
color a next to yes no friend shape image does contain present in not""".split()
_SPACE = "\u2581"  # stands for a blank before a word, as in SentencePiece


def build_tokenizer() -> Tokenizer:
    """A word-level vocabulary; an unknown word becomes `<unk>`."""
    things = [label for label in PART_LABELS if not label.isdigit()]
    words = [
        *_WORDS,
        *STYLES.values(),
        *things,
        *COLOUR_LABELS,
        *RELATIONS,
        *(w for ws in RELATIONS.values() for w in ws),
    ]
    tokens = ["<unk>", ":", *(_SPACE + word for word in dict.fromkeys(words)), _SPACE + "?", "?"]
    tokens += [space + str(digit) for space in ("", _SPACE) for digit in range(10)]
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="never", split=False),
            pre_tokenizers.Split(Regex(rf"{_SPACE}?(?:[0-9]|[A-Za-z_]+[0-9]*|\?)|:"), behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement=_SPACE, prepend_scheme="never")
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL_NAMES.values()])
    return tokenizer


def save_tokenizer(directory: Path) -> int:
    """Writes `tokenizer.json`; returns the vocabulary's size with the special tokens."""
    tokenizer = build_tokenizer()
    tokenizer.save(str(directory / "tokenizer.json"))
    return tokenizer.get_vocab_size()
