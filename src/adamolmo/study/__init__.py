"""A finished study from Python and from the command line: its results as tables, its engine for requests."""
