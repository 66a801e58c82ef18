"""What a compiled program of the study engine depends on, takes and returns."""

from typing import Generic, NamedTuple

import optax
from jax import Array

from regcls_jax.losses.registry import AUXILIARY
from regcls_jax.metrics.errors import ErrorSums
from regcls_jax.models.mlp import ACTIVATIONS, INITIALIZERS, MLP
from regcls_jax.priors import MixturePrior
from regcls_jax.study.trace import ArrayT, Trace, TraceArrays


class Shape(NamedTuple):
    """The settings that need a program of their own: each changes shapes or operations. Fields are as in `runs.Run`."""

    hidden: tuple[int, ...]
    activation: str
    initializer: str
    inputs: str
    decoded: str
    output: str
    loss_in: str
    noise_in: str
    outputs: int  # components of vector targets; 0: scalar targets
    classes: int  # with padding
    auxiliary: str
    balanced: bool
    optimizer: str
    schedule: str
    boundaries: tuple[int, ...]
    decay: str
    decayed: str
    sam: bool
    mixup: bool
    regression: str
    reduction: str
    weighted: bool  # by density, or as the problem has it
    class_weighted: bool
    points: int  # components of the prior p~(y) of Balanced MSE; 0: none
    batch_size: int
    epochs: int
    best_on: int  # index of the split; -1: the last epoch counts
    trace: str
    trace_points: int  # components of the prior of the trace; 0: none


class RunArrays(NamedTuple, Generic[ArrayT]):
    """What may differ between the runs of one program, each [...] over runs."""

    training_set: ArrayT  # index into the arrays
    order: ArrayT  # index into the arrays
    key: Array  # random key
    decoding: ArrayT  # index into `method.DECODED`, read where the shape's is "any"
    numbers: dict[str, ArrayT]  # by field of a run


# The fields of a run in `RunArrays.numbers`, besides the hyperparameters of its losses.
TRACED = (
    *("lam", "scale", "learning_rate", "weight_decay", "momentum", "noise_sigma", "noise_learning_rate"),
    *("sam_rho", "mixup", "mixup_alpha"),
)


class Arrays(NamedTuple, Generic[ArrayT]):
    """What runs share, padded to the largest: every data set, problem, training set and order once.

    P data sets; F problems, the splits of a data set as row numbers; T training sets, problems with classes and
    weights; O orders.
    """

    inputs: ArrayT  # [P, n, D]
    targets: ArrayT  # [P, n] or [P, n, t]
    data: ArrayT  # [F], index of the problem's data set
    centre: ArrayT  # [F, D], mean of the training inputs; [F, 0] where inputs are not standardised
    spread: ArrayT  # [F, D] or [F, 0], their standard deviation
    eval_rows: ArrayT  # [F, S, m], row numbers of the S splits
    eval_sizes: ArrayT  # [F, S], how many of these are real
    problem: ArrayT  # [T], index of the training set's problem
    labels: ArrayT  # int32 [T, n], of the training rows; [T, 0] without classes
    weights: ArrayT  # [T, n], of the training rows; [T, 0] without weights
    class_weights: ArrayT  # [T, n], of their auxiliary loss; [T, 0] where the problem has no weights
    classes: ArrayT  # [T], real classes
    keep: ArrayT  # [T, C], keep probabilities
    edges: ArrayT  # [T, C + 1]; [T, 0] where neither the auxiliary loss nor the prediction needs them
    prior: MixturePrior  # three [T, K]
    mean: ArrayT  # [T] or [T, t], of the targets
    std: ArrayT  # [T] or [T, t]
    orders: ArrayT  # [O, epochs, s], row numbers of the s training samples, in a new order each epoch
    trace: TraceArrays[ArrayT] | None


class Trained(NamedTuple):
    """The result of a training: error sums [S], trace [epochs + 1, S] or None; where asked for, the model's parameters
    and its values [v, m] on some splits.
    """

    errors: ErrorSums
    trace: Trace | None
    params: optax.Params | None
    values: Array | None


def network(shape: Shape, classes: bool = True) -> MLP:
    """The network of a run, features first; without its second head where only the value is asked for."""
    auxiliary = AUXILIARY[shape.auxiliary]
    return MLP(
        shape.hidden,
        (auxiliary.head.outputs if auxiliary.head else shape.classes) if classes else 0,
        shape.outputs,
        auxiliary.one_direction,
        activation=ACTIVATIONS[shape.activation],
        kernel_init=INITIALIZERS[shape.initializer],
        feature_axis=0,
    )
