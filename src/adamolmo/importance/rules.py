"""Names of the rules that rank the blocks from inside the model (`inner_scores.py`)."""

INTERNAL_RULES = ("activation_norm", "gradient", "attention_entropy")
