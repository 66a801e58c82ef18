"""NYUD2-DIR: the release of Hu et al. (WACV 2019) as DIR and the published code use it (recipes 4.4, 5.3)."""

import csv
import importlib.resources
import io

import numpy as np

from regcls_jax.data.images.files import ImageFiles, plain_path

TRAIN, TEST = "nyu2_train.csv", "nyu2_test.csv"
SUBSET, MASK = "nyu2_train_FDS_subset.csv", "test_balanced_mask.npy"
# Metres per unit: 8 bits in training, where 255 is 10 m, and millimetres in the test.
TRAIN_SCALE, TEST_SCALE = 10 / 255, 1 / 1000
# Buckets of .1 m that the test pixels are balanced over: those of the training depths.
BUCKETS = range(7, 100)
PER_METRE = 10


def published_counts() -> np.ndarray:
    """Training pixels per bucket of .1 m, int64 [100], at 228 x 304 pixels; the last bucket has all from 9.9 m on.

    3,513,286,656 in all, of 50,688 pictures; none below .7 m.
    """
    source = importlib.resources.files("regcls_jax.data") / "published" / "nyud2_train_counts.csv"
    rows = np.loadtxt(source.read_text(encoding="utf-8").splitlines(), np.int64, delimiter=",", skiprows=1)
    return rows[:, 1]


def read_rows(files: ImageFiles, table: str) -> dict[str, str]:
    """Picture -> depth map of a table of the release, without the first folder of their paths, which is "data".

    Raises:
      OSError: there is no such table.
      ValueError: a line has not two paths of at least three parts (data/nyu2_train/SCENE/ID.jpg, data/...), or a
        picture comes twice.
    """
    try:
        text = files.read(table).decode("utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"{files.folder} has no {table}, in the folder or in its archives") from None
    rows: dict[str, str] = {}
    for line, row in enumerate(csv.reader(io.StringIO(text), skipinitialspace=True), 1):
        if not row:
            continue
        paths = [plain_path(field.strip()).split("/") for field in row]
        if len(paths) != 2 or min(map(len, paths)) < 3:
            wanted = "data/FOLDER/NAME.jpg,data/FOLDER/NAME.png"
            raise ValueError(f"{table}, line {line}: {','.join(row)!r} is no pair {wanted}")
        picture, depth = ("/".join(path[1:]) for path in paths)
        if picture in rows:
            raise ValueError(f"{table}, line {line}: {row[0]} was given in a line above")
        rows[picture] = depth
    return rows


def split_scenes(pictures: list[str]) -> np.ndarray:
    """Which pictures `nyu2_train/SCENE/ID.jpg` are trained on, bool [n]: all of 4 of 5 scenes (recipes 4.4-4).

    The scenes are sorted, then shuffled by NumPy's old generator with seed 0; the first (4 n) // 5 are trained on.
    """
    scenes = np.array([picture.split("/")[1] for picture in pictures])
    names = np.unique(scenes)
    order = np.arange(len(names))
    np.random.RandomState(0).shuffle(order)
    return np.isin(scenes, names[order[: 4 * len(names) // 5]])


def balanced_mask(depths: np.ndarray, seed: int = 0) -> np.ndarray:
    """Which pixels of the test set are evaluated: equally many of every bucket of .1 m, as published.

    As many as the smallest of `BUCKETS` that is not empty has. The published draw has no seed, so that the published
    mask cannot be drawn again; this one is by `numpy.random.default_rng(seed)`.

    Args:
      depths: float32 [n, H, W] in metres; 0 where nothing was measured.
      seed: >= 0.

    Returns:
      bool [n, H, W].

    Raises:
      ValueError: no pixel is in any of the buckets.
    """
    buckets = np.minimum(depths.ravel() * np.float32(PER_METRE), BUCKETS[-1]).astype(np.int8)
    counts = np.bincount(buckets, minlength=BUCKETS.stop)[BUCKETS.start :]
    if not counts.any():
        raise ValueError(f"no test pixel is {BUCKETS.start / PER_METRE:g} m or more away; are the depths millimetres?")
    number = counts[counts > 0].min()
    generator = np.random.default_rng(seed)
    mask = np.zeros(depths.size, bool)
    for bucket in np.flatnonzero(counts) + BUCKETS.start:
        mask[generator.choice(np.flatnonzero(buckets == bucket), number, replace=False)] = True
    return mask.reshape(depths.shape)


def read_mask(files: ImageFiles, shape: tuple[int, int, int]) -> np.ndarray | None:
    """The published test mask, bool of `shape`, if the release has it.

    Raises OSError where it cannot be read, ValueError where it is of another shape.
    """
    try:
        data = files.read(MASK)
    except FileNotFoundError:
        return None
    mask = np.load(io.BytesIO(data), allow_pickle=False)
    if mask.shape != shape:
        raise ValueError(f"{MASK} has shape {mask.shape}; {TEST} and a view of {shape[2]} x {shape[1]} need {shape}")
    return mask != 0


def read_subset(files: ImageFiles) -> list[str] | None:
    """The published pictures whose features are the statistics of feature smoothing, if the release lists them."""
    try:
        return [*read_rows(files, SUBSET)]
    except FileNotFoundError:
        return None
