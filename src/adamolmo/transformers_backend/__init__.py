"""Mixture-of-experts vision-language models of the library transformers, behind the study's `Backend` interface."""
