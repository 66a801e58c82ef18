"""Why classification helps regression: the study, its baselines and its controls, in JAX."""

__version__ = "0.1.0"
