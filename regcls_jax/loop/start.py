"""The weights that a run starts from: random ones, another run's best, or a file of PyTorch weights."""

import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import tqdm
from jax.sharding import Mesh

from regcls_jax.data.prepared import Prepared
from regcls_jax.loop.checkpoints import Checkpoints
from regcls_jax.loop.mesh import data_mesh, replicated
from regcls_jax.loop.runs import LoopRun
from regcls_jax.loop.steps import Engine, TrainState, init_state, init_variables, make_engine, state_shapes
from regcls_jax.loop.tasks import read_run
from regcls_jax.models.torch_files import TORCH_SUFFIXES, read_state_dict
from regcls_jax.models.torch_weights import (
    encoder_from_state_dict,
    from_state_dict,
    is_of_encoder,
    without_class_head,
)

NO_IMAGENET = (
    "ImageNet weights are not shipped; where torchvision is installed, this makes a file of them: "
    "torch.save(torchvision.models.resnet50(weights='IMAGENET1K_V1').state_dict(), 'imagenet.pth')"
)


def run_folder(workdir: Path, arm: str, seed: int) -> Path:
    """Where a run of a work directory lives."""
    return workdir / arm / f"seed{seed}"


def state_template(engine: Engine, mesh: Mesh) -> TrainState:
    """Shapes, types and placement of a state, for restoring one."""
    shapes = state_shapes(engine)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)), shapes)


def check_data(folder: Path, position: dict[str, Any], data: Prepared) -> None:
    """OSError where a checkpoint in `folder`, with this position, is of other data; earlier ones do not tell."""
    if position.get("data", data.digest) != data.digest:
        raise OSError(
            f"{folder} was trained on other data than {data.name} is now; prepare that again, or choose another workdir"
        )


def load_checkpoint(
    folder: Path, engine: Engine, mesh: Mesh, which: str = "best", data: Prepared | None = None
) -> tuple[TrainState, int]:
    """State and step of the "best", "also_best" or "newest" checkpoint of a run whose engine is given.

    OSError without one and, with `data`, where it was trained on another data set.
    """
    checkpoints = Checkpoints(folder, read_only=True)
    try:
        step = getattr(checkpoints, which)
        if step is None:
            raise OSError(f"{folder}: there is no {which} checkpoint yet")
        state, position = checkpoints.restore(step, state_template(engine, mesh))
        if data is not None:
            check_data(folder, position, data)
        return state, step
    finally:
        checkpoints.close()


def load_weights(path: str, engine: Engine) -> TrainState:
    """A state with the PyTorch weights of a file, all but the class head, which serves training only.

    Raises as `read_state_dict` and `from_state_dict` do: the value head must be there.
    """
    return init_state(engine, from_state_dict(without_class_head(read_state_dict(path)), init_variables(engine)))


def check_starts(runs: Sequence[LoopRun], workdir: Path) -> None:
    """Raises ValueError for a run whose `init_from` is no file that exists, no arm of `runs` and none of `workdir`."""
    arms = {run.arm: None for run in runs}
    for run in runs:
        start = run.init_from
        if start.endswith(TORCH_SUFFIXES):
            if not Path(start).is_file():
                raise ValueError(f"{run.where}: there is no file {start}, which init_from names. {NO_IMAGENET}")
        elif start and start not in arms and not run_folder(workdir, start, run.seed).exists():
            near = difflib.get_close_matches(start, arms)
            hint = f"did you mean {' or '.join(near)}?" if near else f"train arm {start!r} first, with the same workdir"
            raise ValueError(
                f"{run.where}: init_from {start!r} is no arm of this config and not trained in "
                f"{run_folder(workdir, start, run.seed)}; {hint}"
            )


def untrained_start(run: LoopRun, workdir: Path) -> Path | None:
    """The folder of the run that `init_from` names if that is not finished; None if all is well."""
    if not run.init_from or run.init_from.endswith(TORCH_SUFFIXES):
        return None
    folder = run_folder(workdir, run.init_from, run.seed)
    return None if (folder / "rows.csv.gz").exists() else folder


def starting_state(engine: Engine, data: Prepared, workdir: Path) -> TrainState:
    """The state of `engine.run` before its first step.

    Of the arm that `init_from` names, trained on the same data, trunk and value head are taken; the value head stays
    fresh where only it is trained (RRT). Raises OSError where the arm has no checkpoint (`untrained_start` tells before
    whether it is finished).
    """
    run = engine.run
    if not run.init_from:
        return init_state(engine)
    fresh = init_variables(engine)
    if run.init_from.endswith(TORCH_SUFFIXES):
        return init_state(engine, _from_file(engine, fresh))
    folder = run_folder(workdir, run.init_from, run.seed)
    other, _ = load_checkpoint(folder, make_engine(read_run(folder), data), data_mesh(), data=data)
    params = {**fresh["params"], **_trunk(other.params["model"], keep_value_head=run.trainable == "all")}
    _check_shapes(run, fresh["params"], params)
    return init_state(engine, {"params": params, "batch_stats": other.batch_stats})


def _from_file(engine: Engine, fresh: Mapping[str, Any]) -> dict[str, Any]:
    """`fresh` variables with the PyTorch weights that a run starts from: of the network, or of its encoder alone."""
    run, weights = engine.run, read_state_dict(engine.run.init_from)
    encoder = getattr(engine.model, "encoder", "")
    if not is_of_encoder(weights, encoder):
        return from_state_dict(weights, fresh, heads="keep")
    loaded = encoder_from_state_dict(weights, fresh, encoder)
    if jax.process_index() == 0:
        note = f"{run.init_from} starts the encoder alone; all other layers start from random weights"
        tqdm.tqdm.write(f"Note: arm {run.arm!r}, seed {run.seed}: {note}", file=sys.stderr)
    return loaded


def _trunk(params: dict[str, Any], keep_value_head: bool) -> dict[str, Any]:
    left_out = {"class_head"} | (set() if keep_value_head else {"value_head"})
    return {name: values for name, values in params.items() if name not in left_out}


def _check_shapes(run: LoopRun, fresh: Any, params: Any) -> None:
    shapes = [jax.tree.map(lambda array: array.shape, tree) for tree in (fresh, params)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"arm {run.arm!r}: the network of init_from {run.init_from!r} has another depth or width")
