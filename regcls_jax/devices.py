"""What a program computes on: settings that must be made before JAX starts, and one line that says what it found."""

import collections
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

PLATFORMS = ("any", "cpu", "gpu", "tpu")
# Up to so many cores none is free to compile a piece of a program.
FEW_CORES = 4
# Bytes of an accelerator that does not say how many it has.
LEAST_MEMORY = 4 << 30


def cores() -> int:
    """The number of cores that this process may use (Linux), or of all cores (elsewhere)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def configure_cpu(devices: int | None = None) -> None:
    """One simulated CPU device per core (or `devices`), and full-width vectors. Call before the first use of JAX.

    Has no effect on GPU and TPU, and never overrides XLA flags that the user has set. The vector width makes training
    with 1,024 classes 14 % faster on an AVX-512 machine (benchmarks/), and nothing elsewhere. With few cores a program
    is compiled in one piece: a fifth less work than in pieces side by side, and the devices train another meanwhile.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    settings = {"xla_cpu_prefer_vector_width": "512"}
    if cores() <= FEW_CORES:
        settings["xla_cpu_parallel_codegen_split_count"] = "1"
    added = [f"--{name}={value}" for name, value in settings.items() if name not in flags]
    os.environ["XLA_FLAGS"] = " ".join([flags, *added]).strip()

    import jax

    if "xla_force_host_platform_device_count" not in flags:
        jax.config.update("jax_num_cpu_devices", devices or cores())


def compiled_to_run_once() -> dict[str, Any] | None:
    """The `compiler_options` of `jax.jit` for a program that runs once, such as one that draws initial weights.

    On CPU XLA takes a second for every array that is drawn, 30 for a ResNet-18, and a fifth of that where it optimises
    little; the numbers are the same.
    """
    import jax

    return {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None


def start(platform: str = "any", cpu_devices: int | None = None, connect: Callable[[], None] | None = None) -> str:
    """Starts JAX; a program calls this once, before anything else of JAX.

    Args:
      platform: one of PLATFORMS; what to run on. JAX chooses ("any") a GPU or TPU if it finds one.
      cpu_devices: see `configure_cpu`.
      connect: called before devices are looked for; joins several processes.

    Returns:
      One line: what the program runs on.

    Raises:
      ValueError: JAX finds nothing, or something else than `platform`, or the processes cannot be joined.
    """
    configure_cpu(cpu_devices)
    # A GPU that JAX cannot use is a warning of JAX's, which the programs' log level would hide.
    logging.getLogger("jax").setLevel(logging.WARNING)
    import jax

    if platform == "cpu":
        jax.config.update("jax_platforms", "cpu")
    if connect is not None:
        try:
            connect()
        except RuntimeError as error:
            raise ValueError(f"the processes cannot be joined: {error}") from error
    told = jax.config.jax_platforms or ""  # type: ignore[attr-defined]  # JAX declares no option
    try:
        devices, found = jax.devices(), jax.default_backend()
    except RuntimeError as error:
        raise ValueError(f"JAX finds no device to run on: {error}") from error
    line = described(devices, found, told)
    if platform not in ("any", found):
        raise ValueError(f"--platform={platform}: JAX finds only {line}")
    return f"Running on {line}"


def memory(devices: Sequence[Any]) -> int | None:
    """Bytes that JAX may take on the smallest of some devices of one platform; None on CPUs.

    JAX takes three quarters of a GPU unless XLA_CLIENT_MEM_FRACTION says otherwise.
    """
    if devices[0].platform == "cpu":
        return None
    return min((device.memory_stats() or {}).get("bytes_limit", LEAST_MEMORY) for device in devices)


def described(devices: Sequence[Any], platform: str, told: str) -> str:
    """Devices of one platform in words; `told`: the platforms that JAX was told to use ("": any)."""
    if platform == "cpu":
        reason = "chosen by --platform or JAX_PLATFORMS" if told == "cpu" else "no GPU or TPU was found"
        return f"{len(devices)} CPU device{'s' if len(devices) > 1 else ''} ({reason})"
    kinds = collections.Counter(device.device_kind for device in devices)
    return f"{' and '.join(f'{count} {kind}' for kind, count in kinds.items())} ({platform})"
