"""What benchmarks/accelerator.py asks of the devices that JAX finds: trainings of the engine, steps of the loop."""

from collections.abc import Mapping
from typing import Any

import depth_worker
import engine_worker
import jax
import resnet_worker
from worker import Answer, serve, timed

from regcls_jax import devices
from regcls_jax.loop.age import AgeRun


def device() -> Answer:
    """What it runs on, in words and as JAX calls it, and how many of them there are."""
    found, platform = jax.devices(), jax.default_backend()
    told = jax.config.jax_platforms or ""
    return {"line": devices.described(found, platform, told), "platform": platform, "count": len(found)}


def memory() -> Answer:
    """Bytes that the first device took at most so far, and that JAX may take; None where it does not say (a CPU)."""
    known = jax.devices()[0].memory_stats() or {}
    return {"peak_bytes": known.get("peak_bytes_in_use"), "limit_bytes": known.get("bytes_limit")}


def training(kind: str, run: Mapping[str, Any]) -> resnet_worker.Training:
    """The training of "image" or "depth" after its first step."""
    if kind == "depth":
        return depth_worker.training(tuple(run.items()))
    return resnet_worker.training(AgeRun(arm="benchmark", seed=0, **run))


def steps(kind: str, run: Mapping[str, Any], count: int) -> Answer:
    """Losses of the first step and `count` more, the seconds of these, and the temporary memory of the program."""
    made = training(kind, run)
    losses, seconds = [float(made.terms["loss"])], []
    for _ in range(count):
        seconds.append(timed(made.advance)["seconds"])
        losses.append(float(made.terms["loss"]))
    temporary = made.program.step.memory_analysis().temp_size_in_bytes
    return {"losses": losses, "seconds": seconds, "temporary_bytes": temporary, **memory()}


def trainings(samples: int, classes: int, calls: int) -> Answer:
    """Trainings of Fig. 3's model: how many side by side and in a call, and the seconds of each call."""
    answers = [engine_worker.train(samples, classes, chunks=1) for _ in range(calls)]
    return {**answers[0], "seconds": [answer["seconds"] for answer in answers], **memory()}


TASKS = {"device": device, "steps": steps, "trainings": trainings}


def answer(task: str, **request: Any) -> Answer:
    """The answer of a task."""
    return TASKS[task](**request)


if __name__ == "__main__":
    devices.configure_cpu(1)
    serve(answer)
