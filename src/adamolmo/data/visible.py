"""What of a text can be seen: texts that look the same are the same answer, and what shows nothing is blank."""

from unicodedata import category, normalize


def is_blank(text: str) -> bool:
    """Whether there is nothing but spaces, control characters, and marks that only format (zero-width, direction)."""
    return all(character.isspace() or category(character) in ("Cc", "Cf") for character in text)


def as_seen(text: str) -> str:
    """The text with accents composed in one way (NFC), without marks that only format."""
    if text.isascii():
        return text
    return "".join(character for character in normalize("NFC", text) if category(character) != "Cf")
