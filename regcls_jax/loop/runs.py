"""From an image config to the trainings it asks for: every arm with every seed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from regcls_jax import feature_smoothing
from regcls_jax.binning import ROUNDINGS
from regcls_jax.checks import check_integer, choice, positive, whole
from regcls_jax.config import check_arms, check_keys, check_runs
from regcls_jax.losses.registry import REGRESSION
from regcls_jax.method import Method
from regcls_jax.models.resnet import DEPTHS


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageRun(Method):
    """One training of one network on images with ages: a method, the data, the network, and what streaming needs.

    Field names are the config's, the rows' and config.json's.
    """

    arm: str
    seed: int

    # Data
    dataset: str = choice("imdb_wiki_dir", ("imdb_wiki_dir", "agedb_dir", "utkface"))  # as launch/prepare.py made it
    image_size: int = whole(224, 1)  # pixels
    padding: int = whole(16, 0)  # pixels that a training image is shifted by at most
    flip: bool = True  # mirror every second training image
    workers: int = whole(0, 0)  # processes that read images; change no number
    balanced_data: int = whole(0, 0)  # draw the samples of *both* losses balanced over so many classes (Table 4)

    # Network
    depth: int = choice(50, tuple(DEPTHS))  # layers of the ResNet
    width: int = whole(64, 1)  # channels of its first stage
    dtype: str = choice("float32", ("float32", "bfloat16"))  # of its arithmetic
    # An arm of the same folder and seed whose best weights are the start, or a file of PyTorch weights.
    init_from: str = ""
    trainable: str = choice("all", ("all", "value_head"))  # "value_head": a fresh one on frozen features (RRT)

    # Feature distribution smoothing, with the kernel of LDS
    fds: str = choice("none", ("none", *feature_smoothing.MODES))
    fds_buckets: int = whole(100, 1)  # whole years from fds_start to fds_buckets - 1
    fds_start: int = whole(0, 0)  # AgeDB: 3

    # Published recipe of the ages
    regression: str = choice("absolute_error", REGRESSION)
    rounding: str = choice("round", ROUNDINGS)
    low: float | None = 0.0  # years
    high: float | None = 100.0
    buckets: int = whole(121, 1)  # whole years; the last has all above
    bucket_low: float | None = 0.0
    bucket_high: float | None = 121.0
    noise_sigma: float = positive(10.0)
    boundaries: tuple[int, ...] = (60, 80)
    batch_size: int = whole(128, 2)
    epochs: int = whole(90, 1)

    accumulate: int = whole(1, 1)  # parts that a batch is taken in
    select: str = choice("mse", ("mse", "mae", "gm", "bmae"))  # validation metric whose lowest value decides the epoch

    @property
    def where(self) -> str:
        """Begins every message about this training."""
        return f"arm {self.arm!r}"

    def __post_init__(self) -> None:
        super().__post_init__()
        where = self.where
        check_integer(f"{where}: seed", self.seed, 0)
        if self.balanced_data == 1:
            raise ValueError(f"{where}: balanced_data must be 0 (none) or at least 2, got 1")
        if self.trainable == "value_head" and not self.init_from:
            raise ValueError(f"{where}: trainable 'value_head' needs init_from, the weights of the frozen features")
        if self.trainable == "value_head" and (self.classes or self.fds != "none"):
            raise ValueError(f"{where}: classes and fds shape the features, which trainable 'value_head' freezes")
        if self.batch_size % self.accumulate:
            raise ValueError(f"{where}: batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")


# What an arm may set: every field of a run that is not its name or its repetition.
ARM_FIELDS = tuple(f.name for f in dataclasses.fields(ImageRun) if f.name not in ("arm", "seed"))


def expand_images(config: Mapping[str, Any]) -> list[ImageRun]:
    """The runs of an image config: `run` the defaults, `arms[name]` what an arm sets, every arm with each of `seeds`.

    Arms that start from another one come last. ValueError for an unknown key or a value that makes no sense.
    """
    check_keys("", config, ("name", "run", "arms", "seeds"))
    config = {"run": {}, "arms": {}, "seeds": (), **config}
    check_keys("run.", config["run"], ARM_FIELDS)
    check_arms(config["arms"], ARM_FIELDS)
    runs = []
    for name, arm in config["arms"].items():
        settings = {**config["run"], **arm}
        if isinstance(settings.get("boundaries"), list):
            settings["boundaries"] = tuple(settings["boundaries"])
        runs.extend(ImageRun(arm=name, seed=seed, **settings) for seed in config["seeds"])
    runs.sort(key=lambda run: run.init_from in config["arms"])
    check_runs(runs)
    return runs
