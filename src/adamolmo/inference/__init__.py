"""One request, and many at once: the engine, what it asks of a controller, and what a millisecond is."""
