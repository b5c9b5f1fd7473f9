"""Measured ratios against hand-written trio; ``python -m benchmarks`` prints them."""
