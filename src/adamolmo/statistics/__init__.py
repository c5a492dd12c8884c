"""Estimates with their intervals, tests, and the frontier of accuracy against latency."""
