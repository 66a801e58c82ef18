"""The input pipeline: every sample once an epoch, the same for any number of workers and hosts, resumed exactly."""

import numpy as np
import pytest
from batch_lists import assert_same, take
from face_images import MemoryImages, face_split

from regcls_jax.data.images.decoding import decode_rgb
from regcls_jax.data.images.pipeline import draw_epoch, eval_batches, train_batches

SIZE, BATCH, SAMPLES = 12, 4, 10  # 3 batches an epoch, the last of 2 samples
OPTIONS = {"image_size": SIZE, "batch_size": BATCH, "seed": 5, "padding": 3}


@pytest.fixture(scope="module")
def split():
    return face_split(list(range(20, 20 + SAMPLES)), SIZE)


def test_shapes_and_types(split):
    batch = next(train_batches(split, **OPTIONS))
    assert {key: (value.shape, value.dtype) for key, value in batch.items()} == {
        "input": ((BATCH, SIZE, SIZE, 3), np.uint8),
        "target": ((BATCH,), np.float32),
        "index": ((BATCH,), np.int32),
        "mask": ((BATCH,), bool),
    }


def test_every_epoch_has_all_samples_once_in_another_order_and_keeps_its_partial_batch(split):
    batches = take(train_batches(split, **OPTIONS), 9)
    orders = []
    for epoch in range(3):
        own = batches[3 * epoch : 3 * epoch + 3]
        assert [batch["mask"].sum() for batch in own] == [4, 4, 2]
        orders.append(np.concatenate([batch["index"][batch["mask"]] for batch in own]).tolist())
        assert sorted(orders[-1]) == list(range(SAMPLES))
        for key in ("input", "target", "index"):
            assert not own[-1][key][2:].any()
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert orders[0] != list(range(SAMPLES))
    for batch in batches:
        np.testing.assert_array_equal(batch["target"][batch["mask"]], split.targets[batch["index"][batch["mask"]]])


def test_crop_and_flip_follow_the_draws(split):
    seen = []
    for step, batch in enumerate(take(train_batches(split, **OPTIONS), 30)):
        draws = draw_epoch(SAMPLES, 5, step // 3, 3, True)
        for image, row in zip(batch["input"][batch["mask"]], batch["index"][batch["mask"]], strict=True):
            (y, x), flip = draws.shifts[0, row], draws.flips[0, row]
            padded = np.pad(decode_rgb(split.images[row]), ((3, 3), (3, 3), (0, 0)))
            window = padded[3 + y : 3 + y + SIZE, 3 + x : 3 + x + SIZE]
            np.testing.assert_array_equal(image, np.fliplr(window) if flip else window)
            seen.append((y, x, flip))
    ys, xs, flips = map(set, zip(*seen, strict=True))
    assert ys == xs == set(range(-3, 4))
    assert flips == {True, False}
    assert len({tuple(map(int, draw)) for draw in seen}) > 50, "shifts and flips are drawn independently"


def test_draws_are_uniform():
    draws = draw_epoch(70_000, 0, 0, 3, True)
    # Six standard deviations of a binomial count.
    for shifts in draws.shifts[0].T:
        counts = np.bincount(shifts + 3)
        assert len(counts) == 7
        assert np.abs(counts - 10_000).max() < 6 * np.sqrt(10_000 * 6 / 7)
    assert abs(draws.flips.sum() - 35_000) < 6 * np.sqrt(70_000 / 4)
    assert abs(np.corrcoef(draws.shifts[0].T)[0, 1]) < 6 / np.sqrt(70_000)


def test_without_padding_and_flip_images_are_the_decoded_ones(split):
    batch = next(train_batches(split, **OPTIONS | {"padding": 0}, flip=False))
    for image, row in zip(batch["input"], batch["index"], strict=True):
        np.testing.assert_array_equal(image, decode_rgb(split.images[row]))


def test_a_padding_wider_than_the_image_may_leave_nothing_of_it(split):
    batch = next(train_batches(split, **OPTIONS | {"padding": 40, "batch_size": SAMPLES}, flip=False))
    shifts = draw_epoch(SAMPLES, 5, 0, 40, False).shifts[0]
    for image, row in zip(batch["input"], batch["index"], strict=True):
        (y, x), padded = 40 + shifts[row], np.pad(decode_rgb(split.images[row]), ((40, 40), (40, 40), (0, 0)))
        np.testing.assert_array_equal(image, padded[y : y + SIZE, x : x + SIZE])


def test_views_of_an_image_are_in_one_batch_each_with_draws_of_its_own(split):
    batches = take(train_batches(split, **OPTIONS, views=2), 5)  # 10 samples, 20 rows: one epoch
    draws, plain = draw_epoch(SAMPLES, 5, 0, 3, True, 2), draw_epoch(SAMPLES, 5, 0, 3, True)
    for part in ("shifts", "flips"):  # the first view is that of an image with one
        np.testing.assert_array_equal(getattr(draws, part)[0], getattr(plain, part)[0])
    rows = np.concatenate([batch["index"] for batch in batches])
    np.testing.assert_array_equal(rows, np.repeat(plain.order, 2))
    images = np.concatenate([batch["input"] for batch in batches])
    for place, (image, row) in enumerate(zip(images, rows, strict=True)):
        (y, x), flip = draws.shifts[place % 2, row], draws.flips[place % 2, row]
        padded = np.pad(decode_rgb(split.images[row]), ((3, 3), (3, 3), (0, 0)))
        window = padded[3 + y : 3 + y + SIZE, 3 + x : 3 + x + SIZE]
        np.testing.assert_array_equal(image, np.fliplr(window) if flip else window)
    assert np.mean(np.any(images[::2] != images[1::2], axis=(1, 2, 3))) > 0.8, "views differ"
    hosts = [take(train_batches(split, **OPTIONS, views=2, process_index=at, process_count=2), 5) for at in (0, 1)]
    for whole, *parts in zip(batches, *hosts, strict=True):
        np.testing.assert_array_equal(whole["input"], np.concatenate([part["input"] for part in parts]))


def test_the_seed_decides(split):
    first, again = (take(train_batches(split, **OPTIONS), 4) for _ in range(2))
    assert_same(first, again)
    other = take(train_batches(split, **OPTIONS | {"seed": 6}), 4)
    assert [batch["index"].tolist() for batch in other] != [batch["index"].tolist() for batch in first]


@pytest.mark.parametrize("kind", ["train", "eval"])
@pytest.mark.parametrize("count", [2, 4])
def test_hosts_together_get_the_rows_of_one(split, kind, count):
    def batches(**host):
        if kind == "train":
            return take(train_batches(split, **OPTIONS, **host), 7)
        return list(eval_batches(split, image_size=SIZE, batch_size=BATCH, **host))

    hosts = [batches(process_index=index, process_count=count) for index in range(count)]
    joined = [
        {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} for parts in zip(*hosts, strict=True)
    ]
    assert_same(joined, batches())


def test_workers_change_nothing_and_a_state_moves_between_any_numbers_of_them(split):
    expected = take(train_batches(split, **OPTIONS), 12)
    batches = train_batches(split, **OPTIONS, workers=2)
    assert_same(take(batches, 5), expected[:5])
    state = batches.get_state()
    assert_same(take(batches, 3), expected[5:8])
    alone = train_batches(split, **OPTIONS)
    alone.set_state(state)
    assert_same(take(alone, 3), expected[5:8])
    batches.set_state(state)
    assert_same(take(batches, 7), expected[5:])
    batches.close()


def test_resuming_equals_going_on(split):
    batches = train_batches(split, **OPTIONS)
    take(batches, 2)
    state = batches.get_state()
    expected = take(batches, 6)
    batches.set_state(state)
    assert_same(take(batches, 6), expected)
    fresh = train_batches(split, **OPTIONS)
    fresh.set_state(state)
    assert_same(take(fresh, 6), expected)
    assert fresh.get_state() == batches.get_state()


def test_closed_batches_are_refused(split):
    batches = train_batches(split, **OPTIONS)
    next(batches)
    batches.close()
    with pytest.raises(ValueError, match="closed"):
        next(batches)


@pytest.mark.parametrize("batch_size", [1, 4, 5, 16])
def test_evaluation_sees_each_sample_once_in_order_as_it_is(split, batch_size):
    batches = list(eval_batches(split, image_size=SIZE, batch_size=batch_size))
    assert len(batches) == -(-SAMPLES // batch_size)
    assert all(len(batch["target"]) == batch_size for batch in batches)
    joined = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    mask = joined["mask"]
    np.testing.assert_array_equal(joined["index"][mask], np.arange(SAMPLES))
    np.testing.assert_array_equal(joined["target"][mask], split.targets)
    np.testing.assert_array_equal(joined["input"][mask], [decode_rgb(data) for data in split.images])
    assert not joined["input"][~mask].any()


def test_images_are_resized(split):
    batch = next(eval_batches(split, image_size=7, batch_size=2))
    np.testing.assert_array_equal(batch["input"][1], decode_rgb(split.images[1], 7))


def test_an_image_that_cannot_be_decoded_is_named(split):
    images = MemoryImages(split.images)
    images[6] = images[6][:50]
    broken = split._replace(images=images)
    batches = eval_batches(broken, image_size=SIZE, batch_size=BATCH)
    next(batches)
    with pytest.raises(ValueError, match=r"image 6, 6\.jpg, cannot be decoded: "):
        next(batches)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"image_size": 0}, "image_size"),
        ({"seed": -1}, "seed"),
        ({"padding": -1}, "padding"),
        ({"workers": -1}, "workers"),
        ({"process_count": 3}, "batch_size must be a multiple of the 3 processes, got 4"),
        ({"process_index": 2, "process_count": 2}, "process_index must be below process_count 2, got 2"),
    ],
)
def test_a_wrong_argument_is_named(split, wrong, message):
    with pytest.raises(ValueError, match=message):
        train_batches(split, **OPTIONS | wrong)
