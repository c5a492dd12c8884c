"""The study's report: what its numbers say in words, and one HTML page that needs no network."""
