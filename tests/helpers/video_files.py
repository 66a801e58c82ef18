"""Feature files of small videos, as Breakfast has them, of which the features tell the progress."""

import numpy as np

WIDTH = 64
VIDEOS = ("P03_cam01_P03_tea", "P04_cam01_P04_tea", "P16_cam01_P16_tea", "P17_cam01_P17_tea", "P30_cam01_P30_tea")


def features(name: str, frames: int) -> np.ndarray:
    """float32 [frames, 64]: the share of the video that is over, seen through noise, and noise."""
    generator = np.random.default_rng(sum(map(ord, name)))
    table = generator.normal(size=(frames, WIDTH))
    table[:, :8] += 3 * (np.arange(frames) / frames)[:, None]
    return table.astype(np.float32)


def write_videos(folder, names=VIDEOS, frames=90, suffix=""):
    """A file per video, text and .npy in turns or of one `suffix`, of growing length; returns the lengths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    lengths = {name: frames + 20 * place for place, name in enumerate(names)}
    for place, name in enumerate(reversed(names)):
        table = features(name, lengths[name])
        if suffix == ".npy" or place % 2:
            np.save(folder / f"{name}.npy", table)
        else:
            np.savetxt(folder / f"{name}.txt", table, fmt="%.9g")
    return lengths
