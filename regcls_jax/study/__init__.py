"""The study engine: thousands of small trainings in one jitted call, resumable."""
