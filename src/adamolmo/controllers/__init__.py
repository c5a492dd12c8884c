"""Controllers: who chooses the knobs of a request, and how the learned ones are trained."""
