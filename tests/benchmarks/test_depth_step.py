"""The depth network that is timed in PyTorch is the one that is timed in JAX."""

import jax
import jax.numpy as jnp
import pytest

from regcls_jax.loop.depth import DepthRun
from regcls_jax.models.depth import depth_network


@pytest.mark.parametrize(("layers", "classes"), [(18, 0), (50, 10)])
def test_the_network_in_pytorch_is_the_same(layers, classes):
    pytest.importorskip("torch")
    import torch_depth_worker

    run = DepthRun(
        arm="a", seed=0, layers=layers, classes=classes, width=8, batch_size=2, image_height=64, image_width=64
    )
    training = torch_depth_worker.Training(run, "NCHW")
    model = depth_network(layers, width=8, classes=classes)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    ours = jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0), images)["params"])
    theirs = [tuple(parameter.shape) for parameter in training.net.parameters()]
    assert sum(leaf.size for leaf in ours) == sum(parameter.numel() for parameter in training.net.parameters())
    # Kernels [h, w, in, out] of ours are [out, in, h, w] there; of transposed convolutions [in, out, h, w].
    kernels = sorted(tuple(sorted(leaf.shape)) for leaf in ours if leaf.ndim == 4)
    assert kernels == sorted(tuple(sorted(shape)) for shape in theirs if len(shape) == 4)
