"""Images with depth maps on disk: pairing, checking, augmentation, batches."""
