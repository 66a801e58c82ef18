"""Images on disk: reading, checking, decoding, batches."""
