"""Reports of trainings on images with depth maps."""
