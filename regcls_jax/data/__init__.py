"""Data sets: the controlled 1-D study (synthetic_1d)."""
