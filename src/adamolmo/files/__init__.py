"""Every file that crosses a rule boundary of the study: columns and keys, units, meaning.

`docs/results-schema.md` is generated from these declarations. There is one module per kind of file, so that a change of
one makes only those jobs again that write or read it.
"""
