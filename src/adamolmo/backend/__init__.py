"""What the study asks of a model, whichever it is."""
