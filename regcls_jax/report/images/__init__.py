"""The report of trainings on images."""
