"""The study's figures, one family per file. A figure function writes `path`.pdf and `path`.png."""
