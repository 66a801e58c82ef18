"""The 363 pairs of NYU Depth v2, where they are."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from paths import SHARED

from regcls_jax.data.depth.histogram import histogram
from regcls_jax.data.depth.pipeline import eval_batches, train_batches
from regcls_jax.data.depth.prepare import prepare_depths
from regcls_jax.data.depth.splits import findings, load_depths

PAIRS = SHARED / "data" / "nyu_depth_363pairs.tar"


@pytest.mark.skipif(not PAIRS.exists(), reason=f"needs {PAIRS}, which is not published with the code")
def test_real_pairs(tmp_path):
    tfds.disable_progress_bar()
    assert prepare_depths("nyu_small", PAIRS, tmp_path, scale=1 / 25.5)
    data = load_depths("nyu_small", tmp_path)
    assert {name: len(split.names) for name, split in data.splits.items()} == {"train": 254, "val": 36, "test": 73}
    assert findings("nyu_small", tmp_path).faults == {}
    values, counts = histogram(data)
    assert counts.sum() == 254 * 228 * 304
    assert 0.7 < values.min() < values.max() <= 10
    assert 2 < np.average(values, weights=counts) < 4
    batch = next(train_batches(data.splits["train"], batch_size=4, seed=0))
    assert 0.95 < batch["valid"].mean() < 1, "corners of rotations"
    batch = next(eval_batches(data.splits["test"], batch_size=4, height=112, width=152))
    assert batch["valid"].all()
    assert batch["target"].shape == (4, 112, 152)
