"""How much each block matters, and in which order blocks are removed: the second phase of the study."""
