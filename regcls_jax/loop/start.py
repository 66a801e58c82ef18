"""The weights that a run starts from: random ones, another run's best, or a file of PyTorch weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from regcls_jax.loop.checkpoints import Checkpoints
from regcls_jax.loop.mesh import data_mesh, replicated
from regcls_jax.loop.runs import ImageRun
from regcls_jax.loop.steps import Engine, ImageState, init_image_state, init_variables
from regcls_jax.models.torch_weights import from_state_dict, read_state_dict
from regcls_jax.store.files import read_json

TORCH_SUFFIXES = (".pth", ".pt", ".tar", ".safetensors")


def run_folder(workdir: Path, arm: str, seed: int) -> Path:
    """Where a run of a work directory lives."""
    return workdir / arm / f"seed{seed}"


def read_run(folder: Path) -> ImageRun:
    """The run that a folder belongs to. Raises OSError without its config.json, ValueError for one of another kind."""
    content = read_json(folder / "config.json")
    try:
        return ImageRun(**{**content, "boundaries": tuple(content["boundaries"])})
    except (TypeError, KeyError) as error:
        raise ValueError(f"{folder / 'config.json'} describes no image training: {error}") from None


def state_template(engine: Engine, mesh: Mesh) -> ImageState:
    """Shapes, types and placement of a state, for restoring one."""
    shapes = jax.eval_shape(lambda: init_image_state(engine))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated(mesh)), shapes)


def load_checkpoint(folder: Path, engine: Engine, mesh: Mesh, which: str = "best") -> tuple[ImageState, int]:
    """State and step of the "best" or "newest" checkpoint of a run whose engine is given; OSError without one."""
    checkpoints = Checkpoints(folder, read_only=True)
    try:
        step = checkpoints.best if which == "best" else checkpoints.newest
        if step is None:
            raise OSError(f"{folder}: there is no {which} checkpoint yet")
        state, _ = checkpoints.restore(step, state_template(engine, mesh))
        return state, step
    finally:
        checkpoints.close()


def load_weights(path: str, engine: Engine) -> ImageState:
    """A state with the PyTorch weights of a file, all but the class head, which serves training only.

    Raises as `torch_weights.read_state_dict` and `from_state_dict` do: the value head must be there.
    """
    weights = {name: value for name, value in read_state_dict(path).items() if "linear_cls" not in name}
    return init_image_state(engine, from_state_dict(weights, init_variables(engine)))


def untrained_start(run: ImageRun, workdir: Path) -> Path | None:
    """The folder of the run that `init_from` names if that is not finished; None if all is well."""
    if not run.init_from or run.init_from.endswith(TORCH_SUFFIXES):
        return None
    folder = run_folder(workdir, run.init_from, run.seed)
    return None if (folder / "rows.csv").exists() else folder


def starting_state(engine: Engine, workdir: Path, make_engine_of: Callable[[ImageRun], Engine]) -> ImageState:
    """The state of `engine.run` before its first step.

    `make_engine_of` (run -> engine) builds the model of the arm that `init_from` names. Its trunk and its value head
    are taken; the value head stays fresh where only it is trained (RRT). Raises OSError where the arm has no checkpoint
    (`untrained_start` tells before whether it is finished).
    """
    run = engine.run
    if not run.init_from:
        return init_image_state(engine)
    fresh = init_variables(engine)
    if run.init_from.endswith(TORCH_SUFFIXES):
        return init_image_state(engine, from_state_dict(read_state_dict(run.init_from), fresh, heads="keep"))
    folder = run_folder(workdir, run.init_from, run.seed)
    other, _ = load_checkpoint(folder, make_engine_of(read_run(folder)), data_mesh())
    params = {**fresh["params"], **_trunk(other.params["model"], keep_value_head=run.trainable == "all")}
    _check_shapes(run, fresh["params"], params)
    return init_image_state(engine, {"params": params, "batch_stats": other.batch_stats})


def _trunk(params: dict[str, Any], keep_value_head: bool) -> dict[str, Any]:
    left_out = {"class_head"} | (set() if keep_value_head else {"value_head"})
    return {name: values for name, values in params.items() if name not in left_out}


def _check_shapes(run: ImageRun, fresh: Any, params: Any) -> None:
    shapes = [jax.tree.map(lambda array: array.shape, tree) for tree in (fresh, params)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"arm {run.arm!r}: the network of init_from {run.init_from!r} has another depth or width")
