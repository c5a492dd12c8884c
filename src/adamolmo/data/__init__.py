"""Question-answering data: sources, procedural datasets, scoring."""
