"""How right an answer is: one function per scorer, all (prediction, answers) -> share between 0 and 1."""

import re
from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from functools import lru_cache

from adamolmo.data.visible import as_seen
from adamolmo.errors import AdaMolmoError

Scorer = Callable[[str, Sequence[str]], float]

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
_PERIOD_NOT_BEFORE_DIGIT = re.compile(r"\.(?!\d)")
# What a model says before an option: "Answer:", "The correct answer is", "Option".
_LEAD = re.compile(
    r"(?:the\s+)?(?:(?:final|correct|best|right)\s+)?(?:answer|option|choice)(?:\s+is(?=[\s:])|(?=[\s:]))\s*:?\s*"
    r"(?:option\s+)?",
    re.IGNORECASE,
)
# An option's letter that stands alone, and what follows it: "B", "(B)", "[B]", "B.", "B) a dog", "B: a dog".
_LETTER = re.compile(r"(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])(?=$|[.):]))[.):]?(?:\s+(.*))?$")
# A second option behind the first one: "A: cat B: dog", "A. cat, B. dog", "(A) or (B)".
_ANOTHER_LETTER = re.compile(r"\([A-Z]\)|(?<!\S)[A-Z](?:[):]|\.\s+\S)")
_EMPHASIS = re.compile(r"[*_`\"“”]+")
_NUMBER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?")
_MOST_PERIODS_REMOVED = 32
_ARTICLES = {"a", "an", "the"}
_NUMBERS = {"none": "0"} | {
    word: str(n)
    for n, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
}
_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've
    he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't
    not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll
    somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd
    there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll
    what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's
    won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""


def _without_one_apostrophe(word: str) -> list[str]:
    return [word[:i] + word[i + 1 :] for i, letter in enumerate(word) if letter == "'"]


# The official table maps every spelling that lacks one apostrophe to the full one; its only other entry is an accident.
_RESTORED = {misspelt: word for word in _CONTRACTIONS.split() for misspelt in _without_one_apostrophe(word)}
_RESTORED["somebody'd"] = "somebodyd"


@lru_cache(maxsize=65536)
def normalize_answer(text: str) -> str:
    """Answer normalisation of the VQA evaluation (Antol et al. 2015), accidents included so that scores compare:
    a punctuation mark becomes a space unless it stands beside one, or digits are grouped by a comma anywhere: then it
    goes without trace; of the periods not before a digit only the first 32 are removed.
    """
    text = as_seen(text).replace("\n", " ").replace("\t", " ").lower().strip()
    digits_grouped = _DIGIT_COMMA_DIGIT.search(text) is not None
    bare = text
    for mark in _PUNCTUATION:
        beside_space = f"{mark} " in text or f" {mark}" in text
        bare = bare.replace(mark, "" if beside_space or digits_grouped else " ")
    bare = _PERIOD_NOT_BEFORE_DIGIT.sub("", bare, count=_MOST_PERIODS_REMOVED)
    words = (_NUMBERS.get(word, word) for word in bare.split())
    return " ".join(_RESTORED.get(word, word) for word in words if word not in _ARTICLES)


def vqa_score(prediction: str, answers: Sequence[str]) -> float:
    """VQA soft accuracy, min(matches / 3, 1), both sides normalised.

    Made for ten annotators. With fewer than three answers all of them must match for 1.0: a dataset with a single
    reference is scored by exact match. Raises AdaMolmoError for an empty answer list.
    """
    _expect_answers(prediction, answers)
    normalized = normalize_answer(prediction)
    matches = sum(normalize_answer(answer) == normalized for answer in answers)
    return min(matches / min(3, len(answers)), 1.0)


def anls_score(prediction: str, answers: Sequence[str]) -> float:
    """Normalised Levenshtein similarity to the closest answer, 0 when below one half (Biten et al. 2019, ST-VQA).

    Its average over questions is ANLS. Case and outer or repeated spaces do not count. Raises AdaMolmoError for an
    empty answer list.
    """
    _expect_answers(prediction, answers)
    found = " ".join(as_seen(prediction).lower().split())
    similarity = max(_similarity(found, " ".join(as_seen(answer).lower().split())) for answer in answers)
    return similarity if similarity > 0.5 else 0.0


def _similarity(a: str, b: str) -> float:
    """1 - edit distance / longer length; 1 for two empty texts."""
    previous = list(range(len(b) + 1))
    for i, letter in enumerate(a, start=1):
        current = [i]
        for j, other in enumerate(b, start=1):
            current.append(min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (letter != other)))
        previous = current
    return 1 - previous[-1] / max(len(a), len(b), 1)


def multiple_choice_score(prediction: str, answers: Sequence[str]) -> float:
    """1 when the prediction is the right option: by its exact text, or else by its letter, if that stands alone.

    Outer and repeated spaces do not count, nor does a lead ("Answer:", "The correct answer is") or emphasis around
    either; of several lines the first counts. Case and punctuation of a text count ("Aa" and "AA", "3" and "-3" are
    different options), only a full stop behind it does not. docs/data.md lists what is accepted.

    `answers` are letter and text of each right option; a letter in parentheses is one that counts only if the
    prediction marks it as a letter too ("(B)", "B."), because alone it reads like another option's text.
    Raises AdaMolmoError for an empty answer list.
    """
    _expect_answers(prediction, answers)
    prediction = as_seen(prediction)
    letters, texts = answers[::2], {" ".join(as_seen(text).split()) for text in answers[1::2]}
    said = " ".join(prediction.split())
    if said and said in texts:
        return 1.0
    line = _EMPHASIS.sub("", next(iter(prediction.strip().splitlines()), "")).strip()
    bare = line[lead.end() :].strip() if (lead := _LEAD.match(line)) else line
    if letter := _option_letter(bare, texts):
        return float(letter in letters or (len(bare) > 1 and f"({letter})" in letters))
    return float(not texts.isdisjoint(_without_stop(" ".join(text.split())) for text in (said, line, bare)))


def _option_letter(text: str, texts: Collection[str]) -> str | None:
    """The one letter that a text names, upper case."""
    if not (found := _LETTER.match(text)):
        return None
    rest = found[4] or ""
    if _ANOTHER_LETTER.search(rest) and not {rest, _without_stop(rest)} & set(texts):
        return None
    return (found[1] or found[2] or found[3]).upper()


def _without_stop(text: str) -> str | None:
    """The text without a full stop behind it; None if nothing is left."""
    return text.removesuffix(".") or None


def count_score(prediction: str, answers: Sequence[str]) -> float:
    """1 when the prediction is a right number, in digits or as a word up to ten; nothing is given for being close.

    Raises AdaMolmoError for an empty answer list, and for an answer that is no number.
    """
    _expect_answers(prediction, answers)
    right = [_number(answer) for answer in answers]
    if None in right:
        raise AdaMolmoError(
            f"the answer {answers[right.index(None)]!r} is no number, as scorer 'count' expects; another scorer is "
            "'vqa', for single words."
        )
    return float(_number(prediction) in right)


def _number(text: str) -> Decimal | None:
    """Of digits, with commas between thousands, or of a word; None for any other text."""
    bare = as_seen(text).strip().rstrip(".").lower()
    bare = _NUMBERS.get(bare, bare)
    return Decimal(bare.replace(",", "")) if bare.isascii() and _NUMBER.fullmatch(bare) else None


def _expect_answers(prediction: str, answers: Sequence[str]) -> None:
    if not answers:
        raise AdaMolmoError(f"no answers to score {prediction!r} against: expected at least one reference answer")


SCORERS: dict[str, Scorer] = {
    "vqa": vqa_score,
    "anls": anls_score,
    "multiple_choice": multiple_choice_score,
    "count": count_score,
}
