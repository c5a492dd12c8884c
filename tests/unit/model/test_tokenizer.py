"""The tokenizer on a small vocabulary of whole words, as the embedded model has."""

import json

import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from adamolmo.errors import AdaMolmoError
from adamolmo.model.tokenizer import SPECIAL_NAMES, Tokenizer, format_prompt

WORDS = ["[UNK]", "what", "colour", "is", "it", "red", "?", "User", ":", "Assistant"]


def save(directory, special_names):
    backend = Backend(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    backend.add_special_tokens([AddedToken(name, special=True) for name in special_names])
    backend.enable_truncation(4)
    backend.enable_padding(length=12)
    backend.save(str(directory / "tokenizer.json"))


def test_encode_and_decode(tmp_path):
    save(tmp_path, SPECIAL_NAMES.values())
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<im_start>": 100278}))
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.specials.eos == tokenizer.eos_id == len(WORDS)
    assert tokenizer.specials.im_start == len(WORDS) + 1
    ids = tokenizer.encode(format_prompt("what colour is it?", None))
    assert ids == [7, 8, 1, 2, 3, 4, 6, 9, 8]  # neither cut nor padded, whatever the file asks for
    assert tokenizer.encode("zebra") == [0]
    assert tokenizer.decode([5, tokenizer.eos_id, 1]) == "red"
    assert tokenizer.decode([tokenizer.eos_id]) == ""
    assert tokenizer.decode([tokenizer.specials.im_patch, 5, 4]) == "red it"


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("name", SPECIAL_NAMES.values())
def test_no_question_has_a_special_token(tmp_path, name, special):
    """A vocabulary may have them as special, so that they can be told from text, or as ordinary added tokens."""
    backend = Backend(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    backend.add_tokens([AddedToken(name, special=special) for name in SPECIAL_NAMES.values()])
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.load(tmp_path)
    if special:
        assert set(tokenizer.encode(f"what is {name} ?")) == {0, 1, 3, 6}
    else:
        with pytest.raises(AdaMolmoError, match="has the special token 1[0-5]; expected plain text"):
            tokenizer.encode(f"what is {name} ?")


@pytest.mark.parametrize("missing", SPECIAL_NAMES.values())
def test_missing_special_token(tmp_path, missing):
    save(tmp_path, [name for name in SPECIAL_NAMES.values() if name != missing])
    with pytest.raises(AdaMolmoError, match="tokenizer.json") as error:
        Tokenizer.load(tmp_path)
    assert missing in str(error.value)


def test_unreadable_file(tmp_path):
    with pytest.raises(AdaMolmoError, match="tokenizer.json does not exist"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(AdaMolmoError, match="tokenizer.json is not a tokenizer"):
        Tokenizer.load(tmp_path)


def test_prompt_forms():
    assert format_prompt("Why?", None) == format_prompt("Why?", "demo") == " User: Why? Assistant:"
    assert format_prompt("Why?", "text_vqa") == " User: text_vqa: Why? Assistant:"
    assert format_prompt("Why?", None, ["x", "y"]) == " User: Why?\nA: x\nB: y\n Assistant:"
    with pytest.raises(AdaMolmoError, match="27 options"):
        format_prompt("Why?", None, ["x"] * 27)
