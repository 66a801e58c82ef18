"""What describes one training of the loop: the fields of any task, and those of images with a number each."""

import dataclasses
from collections.abc import Hashable

from regcls_jax import feature_smoothing
from regcls_jax.checks import check_integer, choice, positive, whole
from regcls_jax.losses.registry import REGRESSION
from regcls_jax.method import Method
from regcls_jax.models.resnet import DEPTHS

# Fields that change no compiled step: names, and the numbers that it takes as arguments (`steps.Numbers`).
NOT_COMPILED = frozenset({"arm", "seed", "lam", "scale", "candidate_for", "init_from", "workers"})


# `select` where no metric does: for features that are trained without a value.
LAST = "last"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopRun(Method):
    """One training of one network: a method, its data, and what streaming needs.

    Field names are the config's, the rows' and config.json's; a task adds its own (`Task.run`).
    """

    arm: str
    seed: int

    # Data
    task: str  # a name in `tasks.TASKS`
    dataset: str  # as launch/prepare.py made it
    workers: int = whole(0, 0)  # processes that read examples; change no number
    balanced_data: int = whole(0, 0)  # draw the samples of *both* losses balanced over so many classes (Table 4)

    # What arms are candidates for: of those of one name depth reports the one with the lowest validation metric, and
    # the report of ages marks it.
    candidate_for: str = ""

    # An arm of the same folder and seed whose best weights are the start, or a file of PyTorch weights.
    init_from: str = ""
    trainable: str = choice("all", ("all", "value_head"))  # "value_head": a fresh one on frozen features (RRT)
    fds: str = choice("none", ("none", *feature_smoothing.MODES))  # feature smoothing, with the kernel of LDS
    fds_clip_low: float = positive(0.1)  # limits of the ratio of variances in feature smoothing
    fds_clip_high: float = positive(10.0)
    accumulate: int = whole(1, 1)  # parts that a batch is taken in
    select: str = "mse"  # validation metric whose lowest value decides the epoch
    # A split on which that metric decides a second time: its test rows stand beside the others (Table 2, "RMSE-test").
    also_select: str = choice("", ("", "test"))

    @property
    def where(self) -> str:
        """Begins every message about this training."""
        return f"arm {self.arm!r}"

    @property
    def program(self) -> tuple[Hashable, ...]:
        """What the compiled steps of this run depend on: runs of equal `program` on the same data share them."""
        fields = dataclasses.fields(self)
        return type(self), *(getattr(self, field.name) for field in fields if field.name not in NOT_COMPILED)

    @property
    def rows_per_sample(self) -> int:
        """Rows of a batch that one training sample takes."""
        return 1

    @property
    def also_metric(self) -> str:
        """The metric that `also_select` goes by."""
        return self.select

    def __post_init__(self) -> None:
        super().__post_init__()
        where = self.where
        check_integer(f"{where}: seed", self.seed, 0)
        if self.balanced_data == 1:
            raise ValueError(f"{where}: balanced_data must be 0 (none) or at least 2, got 1")
        if self.fds_clip_low > self.fds_clip_high:
            raise ValueError(f"{where}: fds_clip_low {self.fds_clip_low} is above fds_clip_high {self.fds_clip_high}")
        if self.trainable == "value_head" and not self.init_from:
            raise ValueError(f"{where}: trainable 'value_head' needs init_from, the weights of the frozen features")
        if self.trainable == "value_head" and (self.auxiliary_loss or self.fds != "none"):
            raise ValueError(
                f"{where}: an auxiliary loss and fds shape the features, which trainable 'value_head' freezes"
            )
        if self.reduction == "sum" and self.accumulate > 1:
            raise ValueError(f"{where}: reduction 'sum' is over a batch, which accumulate {self.accumulate} divides")
        if self.accumulate > 1 and self.auxiliary_loss and self.auxiliary_loss.compares:
            raise ValueError(f"{where}: auxiliary {self.auxiliary!r} compares a whole batch; set accumulate to 1")
        if self.sam_rho and self.accumulate > 1:
            raise ValueError(f"{where}: sam_rho takes two gradients of a whole batch; set accumulate to 1")
        if self.batch_size % self.accumulate:
            raise ValueError(f"{where}: batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageRun(LoopRun):
    """A training on images with a number each; classes and buckets have the range of the training targets."""

    task: str = "scalar"
    image_size: int = whole(224, 1)  # pixels
    padding: int = whole(16, 0)  # pixels that a training image is shifted by at most
    flip: bool = True  # mirror every second training image
    views: int = whole(1, 1)  # differently cropped and mirrored views of a training image, all in one batch
    depth: int = choice(50, tuple(DEPTHS))  # layers of the ResNet
    width: int = whole(64, 1)  # channels of its first stage
    dtype: str = choice("float32", ("float32", "bfloat16"))  # of its arithmetic
    regression: str = choice("absolute_error", REGRESSION)
    batch_size: int = whole(128, 2)
    epochs: int = whole(90, 1)
    select: str = choice("mse", ("mse", "mae", "gm", "bmae", LAST))  # "last": no metric, the last epoch counts

    @property
    def rows_per_sample(self) -> int:
        """The views of an image."""
        return self.views

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % self.views:
            raise ValueError(f"{self.where}: batch_size {self.batch_size} is not a multiple of views {self.views}")
        if self.also_select and self.select == LAST:
            raise ValueError(f"{self.where}: also_select chooses by a metric, and select is {LAST!r}")
