"""The one exception that users of AdaMolmo see for bad input."""


class AdaMolmoError(Exception):
    """Bad input. `str(error)` is one sentence: the file or key, what was found, what was expected.

    What was found may hold anything: what a terminal would act upon is spelt out ("\\x1b").
    """

    def __init__(self, sentence: str):
        super().__init__(printable(sentence))


def printable(text: str) -> str:
    """The text with its control, formatting and undecodable characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
