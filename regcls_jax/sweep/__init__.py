"""Sweeps: studies and trainings as tasks of a cluster, or of this machine, that share the work of a folder."""
