"""All devices of all hosts as one axis "data": the batch is split over it, everything else is on every device."""

from collections.abc import Mapping

import jax
import numpy as np
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

# Steps between dispatch and the host's look at their results: the device never waits for the host. On CPU more steps in
# flight, whose collectives share a pool of threads, would deadlock on fewer cores than simulated devices.
IN_FLIGHT = 8


def data_mesh() -> Mesh:
    """The mesh of all devices. Auto axes: jit inserts the sums over devices that losses and statistics need."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """One copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split_batch(mesh: Mesh) -> NamedSharding:
    """The first axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def check_batch_size(batch_size: int, accumulate: int = 1) -> None:
    """ValueError unless every device of every host gets the same whole number of rows in every part of a batch."""
    parts = jax.device_count() * accumulate
    if batch_size % parts:
        raise ValueError(
            f"batch_size {batch_size} cannot be split into {accumulate} part(s) over {jax.device_count()} devices; "
            f"take a multiple of {parts}"
        )


def to_devices(mesh: Mesh, rows: Mapping[str, np.ndarray]) -> dict[str, Array]:
    """This host's rows of a global batch, as global arrays split over the devices."""
    sharding = split_batch(mesh)
    return {name: jax.make_array_from_process_local_data(sharding, values) for name, values in rows.items()}
