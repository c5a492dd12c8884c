"""The profile of the study: every knob configuration's answer and latency on every question."""
