"""A network of one block, its batches and states, for the tests of the image steps: it compiles in no time."""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from regcls_jax.data.images.splits import ImageSplit
from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.age import AgeRun
from regcls_jax.loop.steps import init_state, make_engine
from regcls_jax.models.resnet import BasicBlock, ResNet

SIZE, WIDTH, BATCH = 16, 4, 8
# Plain gradient descent with rate 1 shows the gradient: old parameters - new ones.
DESCENT = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 1.0}
TRAIN_AGES = np.repeat(np.float32([3, 12, 18, 19, 31, 31.5, 33, 58, 66, 71, 83, 99, 130]), range(1, 27, 2))
# Neighbours, for kernels over years to smooth over, and ages beyond the classes and the buckets.
AGES = np.float32([3, 18, 19, 31, 33, 66, 83, 130])


def ages_only(train_ages=TRAIN_AGES, samples=169):
    """A data set of ages without images, said to have `samples` to train on."""
    return Prepared("ages", "age", "years", "", {"train": ImageSplit(None, train_ages, np.empty(samples))})


def build(train_ages=TRAIN_AGES, steps_per_epoch=4, **settings):
    """The engine of a run, `make_engine`'s but for the size of the network, on ages without images."""
    run = AgeRun(arm="test", **{"seed": 3, "image_size": SIZE, "batch_size": BATCH, **DESCENT, **settings})
    engine = make_engine(run, ages_only(train_ages, steps_per_epoch * run.batch_size))
    made = engine.model
    return engine._replace(model=ResNet((1,), BasicBlock, WIDTH, made.classes, made.dtype, made.one_direction))


def variables(engine):
    """Weights for which the predictions lie on both sides of the ages, those of trunk and value head alike for all.

    The predictions are in years, or in standard deviations around the mean where the run asks for that.
    """

    def draw(path, leaf):
        names = [entry.key for entry in path]
        values = np.random.default_rng(zlib.crc32("/".join(names).encode())).normal(size=leaf.shape)
        if "value_head" in names:
            values = 40 + values if names[-1] == "bias" else 60 * values
            if engine.run.output == "standardised":
                values = (values - 40 * (names[-1] == "bias")) / 30
        elif names[-1] in ("scale", "var"):
            values = np.exp(0.1 * values)
        elif "class_head" not in names:
            values = 0.2 * values
        return jnp.float32(values)

    images = jnp.zeros((1, SIZE, SIZE, 3))
    shapes = jax.eval_shape(functools.partial(engine.model.init, train=True), jax.random.key(0), images)
    return jax.tree_util.tree_map_with_path(draw, shapes)


def start(engine):
    """The state before the first step."""
    return init_state(engine, variables(engine))


def make_batch(seed=0, mask=None):
    """Images of different brightness and contrast, their ages, and which rows count."""
    rng = np.random.default_rng(seed)
    middle, spread = rng.uniform(60, 200, (BATCH, 1, 1, 3)), rng.uniform(10, 60, (BATCH, 1, 1, 3))
    images = middle + spread * rng.normal(size=(BATCH, SIZE, SIZE, 3))
    return {
        "input": jnp.uint8(images.clip(0, 255)),
        "target": jnp.asarray(AGES),
        "mask": jnp.ones(BATCH, bool) if mask is None else jnp.array(mask, bool),
    }
