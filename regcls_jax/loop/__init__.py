"""The training loop: one large model over streamed examples on a mesh of devices, resumable."""
