"""Measures speed as ratios within one interleaved run. No test passes or fails by it."""
