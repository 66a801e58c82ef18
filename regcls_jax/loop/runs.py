"""From an image config to the trainings it asks for: every arm with every seed."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from regcls_jax import feature_smoothing, optimizer
from regcls_jax.binning import ROUNDINGS
from regcls_jax.imbalance import KERNELS, METHODS
from regcls_jax.method import check_fields
from regcls_jax.metrics.errors import TRIVIAL_PREDICTORS
from regcls_jax.models.resnet import DEPTHS
from regcls_jax.study.runs import check_keys
from regcls_jax.study.train import BALANCED_MSE

CHOICES = {
    "dataset": ("imdb_wiki_dir", "agedb_dir", "utkface"),
    "depth": tuple(DEPTHS),
    "dtype": ("float32", "bfloat16"),
    "output": ("target", "standardised"),
    "auxiliary": ("classification", "membership"),
    "rounding": ROUNDINGS,
    "regression": (
        *("squared_error", "absolute_error", "huber", "focal_squared_error", "focal_absolute_error"),
        *BALANCED_MSE,
    ),
    "reweight": METHODS,
    "lds_kernel": KERNELS,
    "fds": ("none", *feature_smoothing.MODES),
    "trainable": ("all", "value_head"),
    "decay": optimizer.DECAYS,
    "optimizer": optimizer.NAMES,
    "select": ("mse", "mae", "gm", "bmae"),
}


@dataclasses.dataclass(frozen=True)
class ImageRun:
    """One training of one network on images with ages. Field names are the config's, the rows' and the tables'.

    Data: `dataset` as prepared by launch/prepare.py; images of `image_size` pixels, shifted by up to `padding` pixels
    and mirrored (`flip`) in training, read by `workers` processes (which change no number).
    Model: ResNet of `depth` layers with `width` channels in its first stage, arithmetic in `dtype`. The value head
    predicts years ("target") or standard deviations around the training mean ("standardised": same loss in years, but
    the output starts at the mean instead of 0). `init_from`: an arm of the same folder and seed whose best weights are
    the start, or a file of PyTorch weights (.pth, .safetensors; heads keep their own start); `trainable` "value_head"
    then trains a fresh value head on frozen features (RRT).
    Loss (Eq. 3 and 4): scale * (lam * `regression` + cross-entropy over `classes`), classes over [low, high] years,
    `balanced` by equalisation with `rounding` and keep masks (Eq. 12, 13). The published "reg + cls / lambda" is
    scale = 1 / lambda. `auxiliary` "membership" regresses soft class memberships of width `membership_sigma` years
    with the same head instead of classifying. `balanced_data` > 0 draws the samples of *both* losses balanced over
    that many equalised classes (Table 4).
    Baselines: `focal_beta` (per year) and `focal_gamma` of Focal-R; Balanced MSE as in the 1-D study (`noise_sigma`,
    `noise_learning_rate`, `components` of gai); `reweight` by training counts per year up to `buckets` - 1, limited to
    [clip_low, clip_high] if clip_high > 0, smoothed by `lds` (kernel, size, sigma); `fds`: "published" or "corrected"
    feature smoothing with the same kernel over the years `fds_start` (AgeDB: 3) to `fds_buckets` - 1.
    Optimisation: `learning_rate` times .1 at each epoch of `boundaries`; batches of `batch_size`, in `accumulate`
    parts; `select` is the validation metric whose lowest value decides which epoch is tested.
    """

    arm: str
    seed: int
    dataset: str = "imdb_wiki_dir"
    image_size: int = 224
    padding: int = 16
    flip: bool = True
    workers: int = 0
    depth: int = 50
    width: int = 64
    dtype: str = "float32"
    output: str = "target"
    init_from: str = ""
    trainable: str = "all"
    classes: int = 0
    low: float = 0.0
    high: float = 100.0
    balanced: bool = False
    rounding: str = "round"
    lam: float = 1.0
    scale: float = 1.0
    regression: str = "absolute_error"
    auxiliary: str = "classification"
    membership_sigma: float = 2.0
    balanced_data: int = 0
    focal_beta: float = 0.2
    focal_gamma: float = 1.0
    noise_sigma: float = 10.0
    noise_learning_rate: float = 1e-2
    components: int = 8
    reweight: str = "none"
    buckets: int = 121
    clip_low: float = 0.0
    clip_high: float = 0.0
    lds: bool = False
    lds_kernel: str = "gaussian"
    lds_size: int = 5
    lds_sigma: float = 2.0
    fds: str = "none"
    fds_buckets: int = 100
    fds_start: int = 0
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    decay: str = "coupled"
    momentum: float = 0.9
    boundaries: tuple[int, ...] = (60, 80)
    batch_size: int = 128
    accumulate: int = 1
    epochs: int = 90
    select: str = "mse"

    def __post_init__(self) -> None:
        check_fields(
            self,
            integers={
                **dict.fromkeys(("image_size", "width", "components", "buckets", "fds_buckets"), 1),
                **dict.fromkeys(("lds_size", "accumulate", "epochs"), 1),
                **dict.fromkeys(("seed", "padding", "workers", "classes", "balanced_data", "fds_start"), 0),
                "batch_size": 2,
            },
            positive=("lam", "scale", "learning_rate", "noise_sigma", "membership_sigma", "focal_beta", "lds_sigma"),
            not_negative=(
                *("weight_decay", "momentum", "noise_learning_rate", "focal_gamma", "clip_low", "clip_high"),
            ),
            choices=CHOICES,
        )
        where = f"arm {self.arm!r}"
        for field in ("classes", "balanced_data"):
            if getattr(self, field) == 1:
                raise ValueError(f"{where}: {field} must be 0 (none) or at least 2, got 1")
        for field, given in (("balanced", self.balanced), ("auxiliary", self.auxiliary == "membership")):
            if given and not self.classes:
                raise ValueError(f"{where}: {field} {getattr(self, field)!r} needs classes >= 2")
        if self.lds and self.reweight == "none":
            raise ValueError(f"{where}: lds smooths the density of a re-weighting; set reweight, too")
        if self.lds_size % 2 == 0:
            raise ValueError(f"{where}: lds_size must be odd, got {self.lds_size}")
        if self.clip_high and self.reweight == "none":
            raise ValueError(f"{where}: clip_high limits the counts of a re-weighting; set reweight, too")
        if self.clip_low > self.clip_high:
            raise ValueError(f"{where}: clip_low {self.clip_low} is above clip_high {self.clip_high}")
        if self.trainable == "value_head" and not self.init_from:
            raise ValueError(f"{where}: trainable 'value_head' needs init_from, the weights of the frozen features")
        if self.trainable == "value_head" and (self.classes or self.fds != "none"):
            raise ValueError(f"{where}: classes and fds shape the features, which trainable 'value_head' freezes")
        if self.batch_size % self.accumulate:
            raise ValueError(f"{where}: batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")
        if not -float("inf") < self.low < self.high < float("inf"):
            raise ValueError(f"{where}: low {self.low} and high {self.high} are no range of years")
        if not isinstance(self.boundaries, tuple):
            raise ValueError(f"{where}: boundaries must be a tuple of epochs, got {self.boundaries!r}")
        for boundary in self.boundaries:
            if not isinstance(boundary, int) or boundary < 1:
                raise ValueError(f"{where}: boundaries must be epochs from 1 on, got {self.boundaries}")


# What an arm may set: every field of a run that is not its name or its repetition.
ARM_FIELDS = tuple(f.name for f in dataclasses.fields(ImageRun) if f.name not in ("arm", "seed"))


def expand_images(config: Mapping[str, Any]) -> list[ImageRun]:
    """The runs of an image config: `run` the defaults, `arms[name]` what an arm sets, every arm with each of `seeds`.

    Arms that start from another one come last. ValueError for an unknown key or a value that makes no sense.
    """
    check_keys("", config, ("name", "run", "arms", "seeds"))
    config = {"run": {}, "arms": {}, "seeds": (), **config}
    check_keys("run.", config["run"], ARM_FIELDS)
    runs = []
    for name, arm in config["arms"].items():
        check_keys(f"arms.{name}.", arm, ARM_FIELDS)
        if name in TRIVIAL_PREDICTORS:
            raise ValueError(f"an arm cannot be called {name!r}: that is a trivial predictor")
        settings = {**config["run"], **arm}
        if isinstance(settings.get("boundaries"), list):
            settings["boundaries"] = tuple(settings["boundaries"])
        runs.extend(ImageRun(arm=name, seed=seed, **settings) for seed in config["seeds"])
    runs.sort(key=lambda run: run.init_from in config["arms"])
    if len(set(runs)) < len(runs):
        raise ValueError(f"seeds {tuple(config['seeds'])} list one twice")
    if not runs:
        raise ValueError("the config asks for no training: `arms` or `seeds` is empty")
    return runs
