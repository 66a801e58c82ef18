"""How many runs fit a core's cache, or the memory of an accelerator."""

import pytest

from regcls_jax.study import chunks
from regcls_jax.study.chunks import Cost, chunk_size, cost_of
from regcls_jax.study.plan import Sized, shape_of
from regcls_jax.study.runs import expand

GIB = 1 << 30


@pytest.fixture
def shape():
    (run, *_) = expand({"data": {"functions": 1, "repetitions": 1}, "arms": {"reg": {}}})
    return shape_of(run, Sized(1000, "", 1010, 2, 0, {"test": 10}, None))


def test_what_a_run_takes_by_hand(shape):
    """Layers 2 (input and target) x 6, 6 x 15 and 15 x (64 + 1), batches of 256, four bytes each."""
    assert cost_of(shape._replace(classes=64), 1000, 2) == Cost(4 * 256 * 64, 4 * (12 + 90 + 975), 4 * 2000)
    assert cost_of(shape, 1 << 24, 2).epoch == chunks.EPOCH_BYTES, "larger ones are gathered batch by batch"
    assert cost_of(shape._replace(auxiliary="ranksim"), 1000, 2).widest == 4 * 256 * 256, "of every pair of a batch"


def test_on_a_cpu_the_widest_activation_stays_in_cache(shape):
    found = [chunk_size(cost_of(shape._replace(classes=c), 1000, 2), None) for c in (0, 64, 256, 1024, 65536)]
    assert found == [8, 8, 4, 2, 2]


@pytest.mark.parametrize("classes", [64, 1024, 65536])
def test_on_an_accelerator_a_chunk_fills_its_share_and_no_more(shape, classes):
    cost = cost_of(shape._replace(classes=classes), 20_000, 2)
    sizes = [chunk_size(cost, memory * GIB) for memory in (8, 16, 80)]
    assert sizes == sorted(sizes)
    for size, memory in zip(sizes, (8, 16, 80), strict=True):
        assert size * cost.whole <= chunks.MEMORY_SHARE * memory * GIB
        assert 2 * size * cost.whole > chunks.MEMORY_SHARE * memory * GIB or size == chunks.MAX_ACCELERATOR_CHUNK
    assert chunk_size(cost, 80 * GIB - 300_000_000) == sizes[-1], "as on another card of the kind"
    assert chunk_size(cost, 1) == 1
