"""Training: optimiser, step, and the study engine that trains whole grids at once."""
