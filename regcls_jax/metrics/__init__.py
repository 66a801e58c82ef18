"""Evaluation as masked sums, by shot group, and the trivial predictors."""
