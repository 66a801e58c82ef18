"""What is drawn for the training pictures of an epoch, and the change of colours it makes (recipes 5.3).

PCA lighting and the jitters of brightness, contrast and saturation are affine maps of a pixel's colour, given the mean
colour of the picture, and so is what they make together: 12 numbers per picture, which are cheap wherever applied.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np

# Degrees.
ANGLE = 5.0
# Deviation of the lighting's three factors; the eigenvalues and, in columns, eigenvectors of ImageNet's colours.
LIGHTING = 0.1
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
# Most that brightness, contrast or saturation changes, up or down; what grey is made of.
JITTER = 0.4
GREY = np.array([0.299, 0.587, 0.114])
BRIGHTNESS, CONTRAST, SATURATION = range(3)
ORDERS = np.array([*itertools.permutations((BRIGHTNESS, CONTRAST, SATURATION))])


class EpochDraws(NamedTuple):
    """The draws of one epoch of n pictures.

    order: of the pictures [n]; the rest is by picture.
    flips: bool [n].
    angles: degrees [n].
    lighting: factors of the eigenvectors [n, 3].
    jitters: of brightness, contrast and saturation [n, 3].
    orders: rows of `ORDERS` [n].
    """

    order: np.ndarray
    flips: np.ndarray
    angles: np.ndarray
    lighting: np.ndarray
    jitters: np.ndarray
    orders: np.ndarray


# The batches of an epoch share its draws; at its end the next one's are made while the last batches are.
@functools.lru_cache(maxsize=2)
def draw_epoch(samples: int, seed: int, epoch: int) -> EpochDraws:
    """Draws an epoch from `numpy.random.default_rng([seed, epoch])`; cached, so not to be changed."""
    generator = np.random.default_rng([seed, epoch])
    return EpochDraws(
        order=generator.permutation(samples),
        flips=generator.random(samples) < 0.5,
        angles=generator.uniform(-ANGLE, ANGLE, samples),
        lighting=generator.normal(0, LIGHTING, (samples, 3)),
        jitters=generator.uniform(-JITTER, JITTER, (samples, 3)),
        orders=generator.integers(len(ORDERS), size=samples),
    )


def colour_map(pixels: np.ndarray, lighting: np.ndarray, jitters: np.ndarray, order: np.ndarray) -> np.ndarray:
    """What lighting and then the jitters in their order do to a picture's colours; nothing is clipped.

    Args:
      pixels: uint8 [H, W, 3]. The reference of the contrast is the mean grey of all, black corners included.
      lighting: [3].
      jitters: [3]; each takes a share from the colour and puts that of a reference: black, mean grey, the pixel's grey.
      order: a row of `ORDERS`.

    Returns:
      float32 [3, 4], (A | b): a colour c in [0, 1] becomes A c + b.
    """
    # The rows first: a sum over the first axis is 20 times as fast as one over both.
    total = pixels.reshape(len(pixels), -1).sum(0, dtype=np.uint64).reshape(-1, 3).sum(0)
    mean = total / (255 * pixels[..., 0].size)
    matrix, offset = np.eye(3), EIGENVECTORS @ (lighting * EIGENVALUES)
    for kind in order:
        share = jitters[kind]
        constant, linear = np.zeros(3), np.zeros((3, 3))
        if kind == CONTRAST:
            constant[:] = GREY @ (matrix @ mean + offset)
        elif kind == SATURATION:
            linear[:] = GREY
        linear = (1 - share) * np.eye(3) + share * linear
        matrix, offset = linear @ matrix, linear @ offset + share * constant
    return np.concatenate([matrix, offset[:, None]], 1).astype(np.float32)
