"""AdaMolmo: latency-adaptive vision-language inference with MolmoE.

Importing the package is cheap; torch, transformers and matplotlib are imported by the modules that use them.
"""

__version__ = "0.1.0"
