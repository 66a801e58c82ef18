"""Optimisers and learning-rate schedules by name, with weight decay as the published code applies it.

Every number may be a traced value.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jax import Array

NAMES = ("adam", "sgd")
DECAYS = ("coupled", "decoupled")
# What weight decay acts on: every parameter (published here), or kernels, so no bias and no scale of a norm.
DECAYED = ("all", "kernels")
SCHEDULES = ("constant", "cosine")


def learning_rate(
    rate: Array | float, schedule: str, *, boundaries: Sequence[int] = (), steps_per_epoch: Array | int, epochs: int
) -> Array | float | optax.Schedule:
    """The learning rate, constant or as a function of the step, starting at `rate`.

    "constant" is multiplied by .1 at the end of each epoch of `boundaries`; "cosine" falls to 0 over all steps.
    `steps_per_epoch` may be traced. Raises ValueError for an unknown schedule.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown schedule {schedule!r}; one of {', '.join(SCHEDULES)}")
    if schedule == "cosine":
        return lambda step: rate * (1 + jnp.cos(jnp.pi * jnp.minimum(step / (steps_per_epoch * epochs), 1))) / 2
    if not boundaries:
        return rate

    def fallen(step: Array) -> Array:
        falling = jnp.float32(rate)
        for boundary in boundaries:
            falling = jnp.where(step >= boundary * steps_per_epoch, 0.1 * falling, falling)
        return falling

    return fallen


def kernels(params: Any) -> Any:
    """True at the kernels of `params`, by name: with one axis more for models that are trained side by side, a bias has
    as many axes as a kernel (recipes 2.32)."""
    return jax.tree_util.tree_map_with_path(lambda path, _: getattr(path[-1], "key", None) == "kernel", params)


def sharpness_aware(optimizer: optax.GradientTransformation, rho: Array | float) -> optax.GradientTransformation:
    """SAM: the gradient that `optimizer` gets is that at params + rho * g / |g|, g being the one at params.

    With a loss that weights its samples it is BSAM (recipes 2.16). `update` needs `grad_fn(params, i)`, the gradient
    of the same batch elsewhere: a step costs two.
    """

    def climb(gradient: Any, params: Any) -> Any:
        norm = optax.tree.norm(gradient)
        # Where nothing pulls, there is nowhere to climb to.
        factor = -rho / jnp.where(norm > 0, norm, 1)
        return jax.tree.map(lambda part: factor * part, gradient)

    return optax.contrib.sam(optimizer, optax.stateless(climb), opaque_mode=True)


def make(
    name: str = "adam",
    *,
    learning_rate: Array | float | optax.Schedule,
    weight_decay: Array | float = 0.0,
    decay: str = "coupled",
    momentum: Array | float = 0.9,
    mask: Callable[[Any], Any] | None = None,
) -> optax.GradientTransformation:
    """Adam (.9, .999, 1e-8) or SGD with momentum, on all parameters, biases included.

    `weight_decay` is a number or an array that fits every parameter; `mask`, such as `kernels`, says what decays.

    decay "coupled" adds weight_decay * parameter to the gradient before anything else (as torch.optim.Adam/SGD, and so
    the published code): L2 regularisation. Under Adam it is rescaled with the gradient, so its strength relative to the
    loss depends on the scale of the loss; "decoupled" (AdamW) does not. `momentum` is SGD's.
    Raises ValueError for an unknown name or decay.
    """
    if name not in NAMES:
        raise ValueError(f"unknown optimizer {name!r}; one of {', '.join(NAMES)}")
    if decay not in DECAYS:
        raise ValueError(f"unknown weight decay {decay!r}; one of {', '.join(DECAYS)}")
    add_decay = optax.add_decayed_weights(weight_decay, mask)
    direction = optax.scale_by_adam() if name == "adam" else optax.trace(momentum)
    steps = (add_decay, direction) if decay == "coupled" else (direction, add_decay)
    return optax.chain(*steps, optax.scale_by_learning_rate(learning_rate))
