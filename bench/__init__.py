"""Measures speed as ratios of one interleaved run. Never part of a test's pass or fail."""
