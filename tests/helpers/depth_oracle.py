"""The published transformations, step by step, of whole pictures (recipes 5.3)."""

import numpy as np
from PIL import Image
from scipy import ndimage

EIGENVALUES = [0.2175, 0.0188, 0.0045]
EIGENVECTORS = [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]


def geometry(image, shorter, size, flip=False, angle=0.0, order=2, resample=Image.Resampling.BILINEAR, result=None):
    """Scale, flip, rotate, crop to `size` (width, height) and, if `result` is given, resize as Pillow does."""
    width, height = image.size
    scaled = (shorter, int(shorter * height / width)) if width < height else (int(shorter * width / height), shorter)
    image = image.resize(scaled, resample)
    if flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if angle:
        image = Image.fromarray(ndimage.rotate(np.asarray(image), angle, reshape=False, order=order))
    x, y = round((image.width - size[0]) / 2), round((image.height - size[1]) / 2)
    image = image.crop((x, y, x + size[0], y + size[1]))
    return np.asarray(image if result is None else image.resize(result))


def lighting(image, alphas):
    """PCA lighting of an image float [3, H, W] in [0, 1]."""
    shift = (np.array(EIGENVECTORS) * np.array(alphas)[None] * np.array(EIGENVALUES)[None]).sum(1)
    return image + shift[:, None, None]


def lerp(image, reference, share):
    return image + share * (reference - image)


def grey(image):
    return np.stack([0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]] * 3)


def brightness(image, share):
    return lerp(image, np.zeros_like(image), share)


def contrast(image, share):
    return lerp(image, np.full_like(image, grey(image).mean()), share)


def saturation(image, share):
    return lerp(image, grey(image), share)


JITTERS = (brightness, contrast, saturation)
