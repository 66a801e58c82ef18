"""CPU settings that must be made before JAX starts: one device per core, so that a study uses all cores."""

import os


def cores() -> int:
    """The number of cores that this process may use (Linux), or of all cores (elsewhere)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def configure_cpu(devices: int | None = None) -> None:
    """One simulated CPU device per core (or `devices`), and full-width vectors. Call before the first use of JAX.

    Has no effect on GPU and TPU, and never overrides XLA flags that the user has set. The vector width makes training
    with 1,024 classes 14 % faster on an AVX-512 machine (benchmarks/), and nothing elsewhere.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_prefer_vector_width" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_prefer_vector_width=512".strip()

    import jax

    if "xla_force_host_platform_device_count" not in flags:
        jax.config.update("jax_num_cpu_devices", devices or cores())
