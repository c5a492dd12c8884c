"""The one exception that users of AdaMolmo see for bad input."""


class AdaMolmoError(Exception):
    """Bad input. `str(error)` is one sentence: the file or key, what was found, what was expected."""
