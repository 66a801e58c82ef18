"""One optimisation step: from a loss and an optimiser, the next parameters and optimiser state."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jax import Array

Params = Any


class State(NamedTuple):
    """What training changes: parameters and optimiser state."""

    params: Params
    optimizer: optax.OptState


def init_state(params: Params, optimizer: optax.GradientTransformation) -> State:
    """The state before the first step."""
    return State(params, optimizer.init(params))


def train_step(
    state: State,
    loss: Callable[[Params], tuple[Array, dict[str, Array]]],
    optimizer: optax.GradientTransformation,
) -> tuple[State, dict[str, Array]]:
    """One step down `loss` (parameters -> scalar and named terms), with the loss before the step among the terms."""
    (value, terms), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
    # For sharpness-aware minimisation; other optimisers ignore it.
    update = optax.with_extra_args_support(optimizer).update
    elsewhere = jax.grad(lambda params: loss(params)[0])
    updates, optimizer_state = update(
        gradient, state.optimizer, state.params, grad_fn=lambda params, _: elsewhere(params)
    )
    return State(optax.apply_updates(state.params, updates), optimizer_state), {"loss": value, **terms}
