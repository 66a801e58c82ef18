"""Depth from images (NYUD2-DIR): a depth in metres for every pixel, of the network of Hu et al. (recipes 5.3)."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array

from regcls_jax import binning, targets
from regcls_jax.binning import ROUNDINGS
from regcls_jax.checks import choice, not_negative, positive, whole
from regcls_jax.data.depth.files import read_labelled_pictures, read_unlabelled_pictures
from regcls_jax.data.depth.histogram import histogram
from regcls_jax.data.depth.inputs import network_input
from regcls_jax.data.depth.pipeline import UNMEASURED, eval_batches, train_batches
from regcls_jax.data.depth.sources import metres_per_unit
from regcls_jax.data.depth.splits import DepthSplit, load_depths
from regcls_jax.data.depth.transforms import RESAMPLINGS
from regcls_jax.data.nyud2 import PER_METRE, published_counts
from regcls_jax.data.prepared import Prepared
from regcls_jax.imbalance import BOUNDARIES
from regcls_jax.loop.depth_files import write_depths
from regcls_jax.loop.depth_measure import FIRST_PIXEL, make_measure, pixels_of
from regcls_jax.loop.runs import LoopRun
from regcls_jax.loop.task import Batch, Batches, Buckets, Heads, Measure, Task
from regcls_jax.models.depth import DepthNetwork, depth_network
from regcls_jax.models.resize import resize
from regcls_jax.models.resnet import DEPTHS
from regcls_jax.prediction import Prediction
from regcls_jax.targets import Histogram


@dataclasses.dataclass(frozen=True, kw_only=True)
class DepthRun(LoopRun):
    """A training on images with depth maps, as published (recipes 5.3)."""

    task: str = "depth"
    dataset: str = "nyud2"
    image_height: int = whole(228, 64)  # pixels, a multiple of 4; depth is predicted for half of the rows and columns
    image_width: int = whole(304, 64)
    augment: bool = True  # flip, rotate and recolour training images
    unmeasured: str = choice("mask", UNMEASURED)  # pixels without a depth: left out, or as published trained on as 0 m
    resampling: str = choice("nearest", RESAMPLINGS)  # of training depths
    least_depth: float = not_negative(0.0)  # m; nearer training pixels are left out (published for Balanced MSE: .7)
    # Training pixels by depth that classes, weights, priors and shots follow from: those of the data, or NYUD2's.
    counts: str = choice("own", ("own", "published"))
    layers: int = choice(50, tuple(DEPTHS))  # of the ResNet that encodes
    width: int = whole(64, 1)  # channels of its first stage
    dtype: str = choice("float32", ("float32", "bfloat16"))  # of the arithmetic before the heads
    rounding: str = choice("round", ROUNDINGS)
    low: float | None = 0.0  # m
    high: float | None = 10.0
    bucket_low: float | None = 0.0  # m
    bucket_high: float | None = 10.0
    lds_boundary: str = choice("reflect", BOUNDARIES)
    fds_clip_low: float = positive(0.2)
    fds_clip_high: float = positive(5.0)
    learning_rate: float = positive(1e-4)
    weight_decay: float = not_negative(1e-4)
    batch_size: int = whole(32, 2)
    accumulate: int = whole(2, 1)
    epochs: int = whole(5, 1)
    # Over all valid pixels of the validation set, or as published over the first kept one of every image (4.4-1).
    select: str = choice("rmse", ("rmse", "mse", "mae", "abs_rel", "log10", FIRST_PIXEL))

    @property
    def also_metric(self) -> str:
        """RMSE where one pixel selects: only on the validation set was it one pixel (4.4-1, 4.4-16)."""
        return "rmse" if self.select == FIRST_PIXEL else self.select

    def __post_init__(self) -> None:
        super().__post_init__()
        auxiliary = self.auxiliary_loss
        if auxiliary and (auxiliary.head or auxiliary.one_direction):
            raise ValueError(f"{self.where}: auxiliary {self.auxiliary!r} has a head of its own, which pixels have not")
        if auxiliary and auxiliary.compares:
            raise ValueError(
                f"{self.where}: auxiliary {self.auxiliary!r} compares images by one vector each, not pixels"
            )
        if self.decoded != "value":
            raise ValueError(f"{self.where}: depth is read from the value head; decoded {self.decoded!r} is for images")
        for field in ("image_height", "image_width"):
            if getattr(self, field) % 4:
                raise ValueError(f"{self.where}: {field} must be a multiple of 4, got {getattr(self, field)}")


def _train_batches(run: DepthRun, split: DepthSplit, process: tuple[int, int]) -> Batches:
    return train_batches(
        split,
        batch_size=run.batch_size,
        seed=run.seed,
        height=run.image_height,
        width=run.image_width,
        augment=run.augment,
        unmeasured=run.unmeasured,
        resampling=run.resampling,
        workers=run.workers,
        process_index=process[0],
        process_count=process[1],
    )


def _eval_batches(run: DepthRun, split: DepthSplit, process: tuple[int, int]) -> Batches:
    return eval_batches(
        split,
        batch_size=run.batch_size,
        height=run.image_height,
        width=run.image_width,
        workers=run.workers,
        process_index=process[0],
        process_count=process[1],
    )


def _network(run: DepthRun, classes: int) -> DepthNetwork:
    return depth_network(run.layers, width=run.width, classes=classes, dtype=jnp.dtype(run.dtype))


def training_pixels(run: DepthRun, data: Prepared) -> Histogram:
    """Training pixels by depth (m): as published for NYUD2 by the centres of buckets of .1 m, or the data's own."""
    if run.counts == "own":
        return histogram(data)
    counts = published_counts()
    return Histogram((np.arange(len(counts)) + 0.5) / PER_METRE, counts)


def _heads(run: DepthRun, batch: Batch, prediction: Prediction) -> Heads:
    """Classes have twice the resolution of the depths, and so has everything where the data are balanced (4.4-12)."""
    target = batch["target"]
    valid = pixels_of(batch) & (target >= run.least_depth)
    twice = (2 * target.shape[1], 2 * target.shape[2])
    class_target = resize(jnp.where(valid, target, 0), twice)
    # A pixel between measured and unmeasured ones has no depth.
    class_valid = resize(jnp.where(valid, 0.0, 1.0), twice) == 0
    if run.balanced_data:
        return Heads(resize(prediction.value, twice), class_target, class_valid, class_target, class_valid)
    return Heads(prediction.value, target, valid, class_target, class_valid)


def _buckets(run: DepthRun, data: Prepared) -> Buckets:
    edges = np.asarray(targets.bucket_edges(run, training_pixels(run, data)), np.float32)[run.bucket_start :]

    def of(batch: Batch, whole: bool) -> Array:
        buckets = jnp.where(pixels_of(batch), binning.assign(batch["target"], edges), -1)
        # The statistics are of batches as evaluated, whose maps are as large as their pictures.
        return buckets[:, 1::2, 1::2] if whole else buckets

    return Buckets(len(edges) - 1, of)


def _statistics(run: DepthRun, data: Prepared, process: tuple[int, int]) -> Batches:
    """As published: some images of the training set, the same in every epoch, not augmented."""
    train = data.splits["train"]
    return _eval_batches(run, train.rows(train.statistics_rows), process)


def _measure(run: DepthRun, data: Prepared) -> Measure:
    return make_measure(run, data, training_pixels(run, data), _eval_batches)


DEPTH = Task(
    run=DepthRun,
    samples="images",
    load=load_depths,
    train_batches=_train_batches,
    eval_batches=_eval_batches,
    network=_network,
    input_shape=lambda run: (run.image_height, run.image_width, 3),
    inputs=network_input,
    targets=training_pixels,
    heads=_heads,
    buckets=_buckets,
    statistics=_statistics,
    measure=_measure,
    labelled=lambda source, scale: read_labelled_pictures(source, metres_per_unit(scale, "--scale")),
    unlabelled=read_unlabelled_pictures,
    write=write_depths,
)
