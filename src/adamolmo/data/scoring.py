"""How right an answer is: one function per scorer, all (prediction, answers) -> share between 0 and 1."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from adamolmo.errors import AdaMolmoError

Scorer = Callable[[str, Sequence[str]], float]

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
_PERIOD_NOT_BEFORE_DIGIT = re.compile(r"\.(?!\d)")
# An option's letter, alone or before its text: "B", "(B)", "B.", "B: a dog".
_OPTION_LETTER = re.compile(r"\s*\(?([A-Za-z])(?:\s*$|[).:])")
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
    text = text.replace("\n", " ").replace("\t", " ").lower().strip()
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
    found = " ".join(prediction.lower().split())
    similarity = max(_similarity(found, " ".join(answer.lower().split())) for answer in answers)
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
    """1 when the prediction is the right option, by its letter ("B", "(b)", "B: a dog") or by its text.

    `answers` are the right option's letter and text. Raises AdaMolmoError for an empty answer list.
    """
    _expect_answers(prediction, answers)
    if letter := _OPTION_LETTER.match(prediction):
        return float(letter[1].upper() in answers[::2])
    return float(normalize_answer(prediction) in map(normalize_answer, answers[1::2]))


def count_score(prediction: str, answers: Sequence[str]) -> float:
    """1 when the prediction is a right number, in digits or as a word up to ten; nothing is given for being close.

    Raises AdaMolmoError for an empty answer list.
    """
    _expect_answers(prediction, answers)
    return float(normalize_answer(prediction) in {normalize_answer(answer) for answer in answers})


def _expect_answers(prediction: str, answers: Sequence[str]) -> None:
    if not answers:
        raise AdaMolmoError(f"no answers to score {prediction!r} against: expected at least one reference answer")


SCORERS: dict[str, Scorer] = {
    "vqa": vqa_score,
    "anls": anls_score,
    "multiple_choice": multiple_choice_score,
    "count": count_score,
}
