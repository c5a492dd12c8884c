"""The cells of the study, real requests under a budget, and what they amount to."""
