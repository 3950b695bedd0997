"""Is it more than chance: tests, intervals and calibrated scores for every measure."""
