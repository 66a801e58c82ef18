"""Trains networks on a table of noise with the study engine; asked by own_table.py."""

import dataclasses

from mlp_worker import table
from worker import Answer, serve, timed

from regcls_jax.data.source import Problem
from regcls_jax.devices import configure_cpu
from regcls_jax.study.fit import fit
from regcls_jax.study.runs import Run


@dataclasses.dataclass(frozen=True)
class Spec:
    """The one problem; as `data.source.Spec` says."""

    name = "table"
    scenario = ""
    key = 0
    seed = 0
    shared = "table"


def measure(fits: int, rows: int, columns: int, epochs: int, batch_size: int, hidden: list[int]) -> Answer:
    """Seconds and core seconds of so many trainings at different learning rates."""
    inputs, targets, splits = table(rows, columns)
    settings = {"hidden": tuple(hidden), "epochs": epochs, "batch_size": batch_size, "inputs": "standardised"}
    settings |= {"output": "standardised", "loss_in": "std", "decay": "decoupled", "best_on": "val"}
    runs = [
        Run(arm="reg", data=Spec(), seed=0, learning_rate=1e-3 * (1 + 0.01 * number), **settings)
        for number in range(fits)
    ]
    problem = Problem(inputs, targets, splits)
    return timed(lambda: fit(runs, lambda spec: problem, chunk=16))


if __name__ == "__main__":
    configure_cpu()
    serve(measure)
