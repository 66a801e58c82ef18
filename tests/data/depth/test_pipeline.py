"""Batches of pairs: each once an epoch, the same for any number of workers and hosts, resumed exactly."""

import json

import numpy as np
import pytest
from batch_lists import assert_same, take
from depth_oracle import geometry
from depth_pairs import MemoryPairs, depth_split
from PIL import Image

from regcls_jax.data.batches import share
from regcls_jax.data.depth import pipeline
from regcls_jax.data.depth.decoding import decode_depth
from regcls_jax.data.depth.draws import ORDERS, colour_map, draw_epoch
from regcls_jax.data.depth.pipeline import eval_batches, train_batches
from regcls_jax.data.depth.transforms import View, see_depth
from regcls_jax.data.images.decoding import decode_rgb

# Pictures of 48 x 64 are scaled to 38 x 50; 3 batches an epoch, the last of 2 pictures.
VIEW, BATCH, SAMPLES = View(36, 47), 4, 10
EVAL = {"batch_size": BATCH, "height": 36, "width": 47}
OPTIONS = {**EVAL, "seed": 5}
METRE = 25.5


@pytest.fixture(scope="module")
def split():
    return depth_split(SAMPLES, holes=0.1)


def examples(batches):
    """Rows of batches that are no padding, one by one."""
    for batch in batches:
        for place in np.flatnonzero(batch["mask"]):
            yield {key: value[place] for key, value in batch.items()}


def test_shapes_and_types(split):
    shapes = {key: (value.shape, value.dtype) for key, value in next(train_batches(split, **OPTIONS)).items()}
    common = {"index": ((BATCH,), np.int32), "mask": ((BATCH,), bool), "input": ((BATCH, 36, 47, 3), np.uint8)}
    half, whole = (BATCH, 18, 24), (BATCH, 36, 47)
    maps = {"target": (half, np.float32), "valid": (half, bool)}
    assert shapes == {**common, **maps, "colour": ((BATCH, 3, 4), np.float32)}
    shapes = {key: (value.shape, value.dtype) for key, value in next(eval_batches(split, **EVAL)).items()}
    assert shapes == {**common, "target": (whole, np.float32), "valid": (whole, bool)}


def test_the_published_size_is_the_default():
    split = depth_split(1, size=(240, 320))
    batch = next(train_batches(split, batch_size=1, seed=0))
    assert (batch["input"].shape, batch["target"].shape) == ((1, 228, 304, 3), (1, 114, 152))
    assert next(eval_batches(split, batch_size=1))["target"].shape == (1, 228, 304)


def test_every_epoch_has_all_pictures_once_in_another_order_and_keeps_its_partial_batch(split):
    batches = take(train_batches(split, **OPTIONS), 9)
    orders = []
    for epoch in range(3):
        own = batches[3 * epoch : 3 * epoch + 3]
        assert [batch["mask"].sum() for batch in own] == [4, 4, 2]
        orders.append([int(example["index"]) for example in examples(own)])
        assert sorted(orders[-1]) == list(range(SAMPLES))
        for key in ("input", "target", "valid", "index", "colour"):
            assert not own[-1][key][2:].any()
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_training_pictures_follow_the_draws(split):
    for step, batch in enumerate(take(train_batches(split, **OPTIONS), 6)):
        draws = draw_epoch(SAMPLES, 5, step // 3)
        for example in examples([batch]):
            row = example["index"]
            image, depth = split.pairs[row]
            flip, angle = bool(draws.flips[row]), float(draws.angles[row])
            pixels = geometry(Image.fromarray(decode_rgb(image)), VIEW.shorter, (47, 36), flip, angle)
            np.testing.assert_array_equal(example["input"], pixels)
            colour = colour_map(pixels, draws.lighting[row], draws.jitters[row], ORDERS[draws.orders[row]])
            np.testing.assert_array_equal(example["colour"], colour)
            raw, _ = see_depth(decode_depth(depth), VIEW, flip=flip, angle=angle, half=True)
            np.testing.assert_allclose(example["target"], raw / METRE, rtol=1e-6)
            np.testing.assert_array_equal(example["valid"], raw > 0)
            assert 0.02 < (~example["valid"]).mean() < 0.25


def test_unmeasured_pixels_are_targets_of_0_m_where_that_is_asked_for(split):
    masked, trained = (take(train_batches(split, **OPTIONS, unmeasured=kind), 3) for kind in ("mask", "train"))
    for one, other in zip(examples(masked), examples(trained), strict=True):
        np.testing.assert_array_equal(one["target"], other["target"])
        assert (one["target"][~one["valid"]] == 0).all()
        assert (~one["valid"]).any()
        assert other["valid"].all()
    assert not trained[-1]["valid"][2:].any(), "padding is no target"


def test_published_maps_are_mixed_across_edges(split):
    plain, mixed = (take(train_batches(split, **OPTIONS, resampling=kind), 3) for kind in ("nearest", "published"))
    differ = 0
    for one, other in zip(examples(plain), examples(mixed), strict=True):
        np.testing.assert_array_equal(one["input"], other["input"])
        np.testing.assert_array_equal(one["valid"], other["valid"])
        differ += np.abs(one["target"] - other["target"]).max() > 0.5
    assert differ == SAMPLES


def test_without_augmentation_training_pictures_are_those_of_an_evaluation(split):
    whole = {int(example["index"]): example for example in examples(eval_batches(split, **EVAL))}
    batches = take(train_batches(split, **OPTIONS, augment=False), 3)
    assert "colour" not in batches[0]
    for example in examples(batches):
        np.testing.assert_array_equal(example["input"], whole[int(example["index"])]["input"])
        target = whole[int(example["index"])]["target"]
        np.testing.assert_array_equal(example["target"], target[1::2][:, (2 * np.arange(24) + 1) * 47 // 48])


def test_an_evaluation_has_every_picture_once_in_order(split):
    batches = list(eval_batches(split, **EVAL))
    assert [batch["mask"].sum() for batch in batches] == [4, 4, 2]
    found = list(examples(batches))
    assert [int(example["index"]) for example in found] == list(range(SAMPLES))
    for example, (image, depth) in zip(found, split.pairs, strict=True):
        pixels = geometry(Image.fromarray(decode_rgb(image)), VIEW.shorter, (47, 36))
        np.testing.assert_array_equal(example["input"], pixels)
        rows, columns = ([(2 * at + 1) * old // (2 * new) for at in range(new)] for old, new in ((48, 38), (64, 50)))
        raw = decode_depth(depth)[rows][:, columns][1:37, 2:49]
        np.testing.assert_allclose(example["target"], raw / METRE, rtol=1e-6)
        np.testing.assert_array_equal(example["valid"], raw > 0)


def test_only_pixels_of_the_mask_are_evaluated(split):
    mask = np.random.default_rng(0).random((SAMPLES, 36, 47)) < 0.5
    packed = np.packbits(mask.reshape(SAMPLES, -1), axis=1)
    masked = split._replace(mask=packed, mask_shape=(36, 47))
    for one, other in zip(examples(eval_batches(split, **EVAL)), examples(eval_batches(masked, **EVAL)), strict=True):
        np.testing.assert_array_equal(other["target"], one["target"])
        np.testing.assert_array_equal(other["valid"], one["valid"] & mask[one["index"]])
    smaller = {"batch_size": 1, "height": 18, "width": 24}
    (example,) = examples(eval_batches(masked.rows(np.array([7])), **smaller))
    (whole,) = examples(eval_batches(split.rows(np.array([7])), **smaller))
    nearest = mask[7][1::2][:, (2 * np.arange(24) + 1) * 47 // 48]
    np.testing.assert_array_equal(example["valid"], whole["valid"] & nearest)


def test_some_rows_of_a_split(split):
    rows = np.array([8, 2, 5])
    some = split._replace(statistics_rows=rows).rows(rows)
    assert some.statistics_rows is None
    assert some.names.tolist() == ["room 8", "room 2", "room 5"]
    whole = list(examples(eval_batches(split, **EVAL)))
    for place, example in enumerate(examples(eval_batches(some, **EVAL))):
        assert example["index"] == place
        np.testing.assert_array_equal(example["input"], whole[rows[place]]["input"])


@pytest.mark.parametrize("kind", ["train", "eval"])
@pytest.mark.parametrize("count", [2, 4])
def test_hosts_together_get_the_rows_of_one(split, kind, count):
    def batches(**host):
        if kind == "train":
            return take(train_batches(split, **OPTIONS, **host), 7)
        return list(eval_batches(split, **EVAL, **host))

    hosts = [batches(process_index=index, process_count=count) for index in range(count)]
    joined = [
        {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} for parts in zip(*hosts, strict=True)
    ]
    assert_same(joined, batches())


def test_workers_change_nothing_and_positions_are_taken_up_by_any_number_of_them(split):
    alone = take(train_batches(split, **OPTIONS), 8)
    batches = train_batches(split, **OPTIONS, workers=2)
    assert_same(take(batches, 5), alone[:5])
    state = json.loads(json.dumps(batches.get_state()))
    assert_same(take(batches, 1), alone[5:6])
    batches.close()
    resumed = train_batches(split, **OPTIONS)
    resumed.set_state(state)
    assert_same(take(resumed, 3), alone[5:])


def test_an_evaluation_by_workers_is_the_same(split):
    assert_same(list(eval_batches(split, **EVAL, workers=2)), list(eval_batches(split, **EVAL)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed must be"),
        ({"height": 0}, "height must be"),
        ({"width": 0}, "width must be"),
        ({"unmeasured": "drop"}, "unmeasured must be one of mask, train, got 'drop'"),
        ({"resampling": "cubic"}, "resampling must be one of nearest, published, got 'cubic'"),
        ({"process_count": 3}, "batch_size must be a multiple of the 3 processes"),
    ],
)
def test_arguments_out_of_range(split, options, message):
    with pytest.raises(ValueError, match=message):
        train_batches(split, **OPTIONS | options)


def test_a_damaged_map_is_named(split):
    image, depth = split.pairs[3]
    pairs = type(split.pairs)(split.pairs)
    pairs[3] = (image, depth[:50])
    with pytest.raises(ValueError, match=r"pair 3, room 3, cannot be decoded"):
        list(eval_batches(split._replace(pairs=pairs), **EVAL))


def test_maps_without_holes_have_none_in_an_evaluation():
    assert next(eval_batches(depth_split(1), **EVAL | {"batch_size": 1}))["valid"].all()


def test_pictures_that_are_kept_decoded_change_nothing(split, monkeypatch):
    kept = take(train_batches(split, **OPTIONS), 7)
    monkeypatch.setattr(pipeline, "KEPT_BYTES", 0)
    assert_same(kept, take(train_batches(split, **OPTIONS), 7))


def test_pictures_are_kept_only_where_all_of_them_fit(split, monkeypatch):
    read: list[int] = []

    class Counted(MemoryPairs):
        def read(self, indices):
            read.extend(indices)
            return super().read(indices)

    pairs = split._replace(pairs=Counted(split.pairs))
    for kept_bytes, reads in ((1 << 28, SAMPLES), (10, 2 * SAMPLES)):
        monkeypatch.setattr(pipeline, "KEPT_BYTES", kept_bytes)
        read.clear()
        # Two epochs: as this process makes them, not ahead of time in a thread.
        batches = pipeline._Batches(pairs, VIEW, share(BATCH, 0, 1), seed=5)
        for step in range(6):
            batches(step)
        assert len(read) == reads
