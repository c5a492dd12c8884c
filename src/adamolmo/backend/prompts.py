"""What is true of prompts whatever the model."""

from adamolmo.errors import AdaMolmoError


def check_length(num_tokens: int, most_tokens: int) -> None:
    """Raises AdaMolmoError for a prompt that leaves the model no room for an answer."""
    if num_tokens > most_tokens:
        raise AdaMolmoError(
            f"the prompt has {num_tokens} tokens with those of its image; beside an answer the model has room for "
            f"{most_tokens}: expected a shorter question."
        )
