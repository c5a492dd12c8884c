"""What of any text may reach a terminal."""

import pytest

from adamolmo.errors import AdaMolmoError, printable, quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, \u00e9 and \u4e2d stay", "plain, \u00e9 and \u4e2d stay"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b2J", r"\x9b2J"),
        ("\x07\x00\x7f", r"\x07\x00\x7f"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\udcff", r"\udcff"),
        ("abc\u202ecba", r"abc\u202ecba"),
        ("\u2028", r"\u2028"),
    ],
)
def test_nothing_commands_a_terminal_or_hides(text, shown):
    assert printable(text) == shown
    assert str(AdaMolmoError(text)) == shown


def test_what_is_quoted_is_short():
    assert quoted("x" * 5000) == f"'{'x' * 57}...'"
    assert quoted("60s") == "'60s'"
