"""What the network sees of a batch: the one piece of the augmentation that runs on the device."""

from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

# ImageNet's.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def network_input(batch: Mapping[str, Array]) -> Array:
    """float32 [B, H, W, 3] of a batch's "input", uint8 [B, H, W, 3], normalised as recipes 5.3.

    The colours change by "colour" [B, 3, 4] (`draws.colour_map`) where the batch has it, that is, in training.
    """
    pixels = batch["input"] / jnp.float32(255)
    if "colour" in batch:
        colour = batch["colour"]
        matrix, offset = colour[:, None, None, :, :3], colour[:, None, None, :, 3]
        # Written out: a matrix product may be rounded to fewer bits on accelerators, and takes 7 times as long on CPUs.
        pixels = sum(matrix[..., channel] * pixels[..., channel : channel + 1] for channel in range(3)) + offset
    mean, std = (jnp.float32(values).reshape(1, 1, 1, 3) for values in (MEAN, STD))
    return (pixels - mean) / std
