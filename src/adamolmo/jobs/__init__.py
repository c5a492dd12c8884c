"""How a rule of the workflow meets the library."""
