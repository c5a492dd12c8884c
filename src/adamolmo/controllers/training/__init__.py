"""How learned controllers are made from the profile."""
