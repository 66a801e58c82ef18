"""A data set of a user's own: pictures whose brightness tells a number that may be negative, and their table."""

from pathlib import Path

import numpy as np
from face_images import encode

HEADER = "photo,town,price"


def prices(count: int, seed: int = 0) -> np.ndarray:
    """Prices in [-50, 50], most of them near -20; two decimals."""
    generator = np.random.default_rng(seed)
    return np.clip(generator.normal(-20, 15, count), -50, 50).round(2)


def picture(price: float, generator: np.random.Generator, size: int = 16) -> bytes:
    """A PNG whose brightness is 128 + 2 * price, with noise."""
    pixels = 128 + 2 * price + generator.normal(0, 4, (size, size, 3))
    return encode(pixels.clip(0, 255).astype(np.uint8), "PNG")


def write_houses(folder: Path, count: int, splits: list[str] | None = None) -> tuple[list[str], np.ndarray]:
    """Writes `folder`/photos and `folder`/houses.csv (photo, town, price and, if given, split); names and prices."""
    generator = np.random.default_rng(1)
    found = prices(count)
    names = [f"street/{number:03}.png" for number in range(count)]
    (folder / "photos" / "street").mkdir(parents=True)
    for name, price in zip(names, found, strict=True):
        (folder / "photos" / name).write_bytes(picture(price, generator))
    rows = [f"{name},Bern,{price}" for name, price in zip(names, found, strict=True)]
    header = HEADER
    if splits is not None:
        header, rows = f"{HEADER},split", [f"{row},{split}" for row, split in zip(rows, splits, strict=True)]
    (folder / "houses.csv").write_text("\n".join([header, *rows]) + "\n")
    return names, found
