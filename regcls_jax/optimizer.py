"""Optimisers by name, with weight decay as the published code applies it. Every number may be a traced value."""

import optax
from jax import Array

NAMES = ("adam", "sgd")
DECAYS = ("coupled", "decoupled")


def make(
    name: str = "adam",
    *,
    learning_rate: Array | float | optax.Schedule,
    weight_decay: Array | float = 0.0,
    decay: str = "coupled",
    momentum: float = 0.9,
) -> optax.GradientTransformation:
    """Adam (.9, .999, 1e-8) or SGD with momentum, on all parameters, biases included.

    decay "coupled" adds weight_decay * parameter to the gradient before anything else (torch.optim.Adam/SGD, so the
    published code): L2 regularisation. Under Adam it is rescaled with the gradient, so its strength relative to the
    loss depends on the scale of the loss; "decoupled" (AdamW) does not. `momentum` is SGD's.
    """
    if name not in NAMES:
        raise ValueError(f"unknown optimizer {name!r}; one of {', '.join(NAMES)}")
    if decay not in DECAYS:
        raise ValueError(f"unknown weight decay {decay!r}; one of {', '.join(DECAYS)}")
    add_decay = optax.add_decayed_weights(weight_decay)
    direction = optax.scale_by_adam() if name == "adam" else optax.trace(momentum)
    steps = (add_decay, direction) if decay == "coupled" else (direction, add_decay)
    return optax.chain(*steps, optax.scale_by_learning_rate(learning_rate))
