"""The three protocols: sizes by their formula, disjoint splits, groups, controls, UTKFace's numbers, bad input."""

import hashlib
import zipfile

import numpy as np
import pytest
from paths import SHARED

from regcls_jax.data.protocols import bin_weights, control, protocol, shots_with_zero
from regcls_jax.data.utkface import age_of

EDGES = np.arange(0, 61, 5.0)
SETTINGS = {
    "extrapolation": {"centres": [20], "width": 8},
    "interpolation": {"centres": [8, 45], "width": 6},
    "blind_spot": {"gap": (20, 32)},
}


@pytest.fixture
def targets():
    rng = np.random.default_rng(0)
    return np.append(rng.normal(25, 14, 3000), [4.0] * 7)


def bins_of(targets, rows):
    return np.bincount((targets[rows] // 5).astype(int), minlength=12)


@pytest.mark.parametrize("name", SETTINGS)
def test_sizes_follow_the_formula(targets, name):
    splits = protocol(targets, name, edges=EDGES, test_per_bin=20, most=90, **SETTINGS[name])
    inside = np.flatnonzero((targets >= 0) & (targets <= 60))
    counts = bins_of(targets, inside)
    assert counts.min() < 40 < counts.max(), "some bins are not evaluated"
    evaluated = counts >= 40
    np.testing.assert_array_equal(bins_of(targets, splits["test"]), 20 * evaluated)
    np.testing.assert_array_equal(bins_of(targets, splits["val"]), 20 * evaluated)
    middles = np.arange(2.5, 60, 5)
    if name == "blind_spot":
        weights = [0 if m in (22.5, 27.5) else 1 for m in middles]
    else:
        options = SETTINGS[name]
        weights = [
            sum(np.exp(-((m - c) ** 2) / (2 * options["width"] ** 2)) for c in options["centres"]) for m in middles
        ]
    wanted = [min(n - 40 * e, int(90 * w)) for n, e, w in zip(counts, evaluated, weights, strict=True)]
    np.testing.assert_array_equal(bins_of(targets, splits["train"]), wanted)
    rows = np.concatenate(list(splits.values()))
    assert len(set(rows.tolist())) == len(rows), "no row twice"
    assert set(rows.tolist()) <= set(inside.tolist()), "no row beyond the edges"
    for split in splits.values():
        assert split.dtype == np.int32
        assert np.all(np.diff(split) > 0)


def test_all_protocols_of_a_seed_are_tested_on_the_same_rows(targets):
    found = [
        protocol(targets, name, edges=EDGES, test_per_bin=20, most=most, seed=5, **SETTINGS[name])
        for name in SETTINGS
        for most in (30, 90)
    ]
    for splits in found[1:]:
        np.testing.assert_array_equal(splits["test"], found[0]["test"])
        np.testing.assert_array_equal(splits["val"], found[0]["val"])


def test_the_seed_decides(targets):
    settings = {"edges": EDGES, "test_per_bin": 20, "most": 50, **SETTINGS["blind_spot"]}
    first, again, other = (protocol(targets, "blind_spot", seed=seed, **settings) for seed in (1, 1, 2))
    for split in first:
        np.testing.assert_array_equal(first[split], again[split])
        assert not np.array_equal(first[split], other[split])
        assert len(first[split]) == len(other[split])


def test_every_row_of_a_bin_can_be_drawn(targets):
    drawn = {"train": set(), "val": set(), "test": set()}
    small = targets[:400]
    for seed in range(60):
        splits = protocol(small, "blind_spot", edges=[20, 30], test_per_bin=20, most=20, gap=(0, 1), seed=seed)
        for split, rows in splits.items():
            drawn[split] |= set(rows.tolist())
    every = set(np.flatnonzero((small >= 20) & (small <= 30)).tolist())
    assert drawn["train"] == drawn["val"] == drawn["test"] == every


def test_no_group_is_in_two_splits(targets):
    groups = np.random.default_rng(1).integers(0, 900, len(targets))
    names = np.array([f"person {g}" for g in groups])
    for name, options in SETTINGS.items():
        splits = protocol(targets, name, edges=EDGES, test_per_bin=10, most=90, groups=names, **options)
        members = [set(names[rows]) for rows in splits.values()]
        assert len(set.union(*members)) == sum(map(len, members))
        counts = bins_of(targets, np.flatnonzero((targets >= 0) & (targets <= 60)))
        held = bins_of(targets, splits["test"])
        np.testing.assert_array_equal(held, bins_of(targets, splits["val"]))
        assert set(held[counts >= 20]) == {10}
        assert len(splits["train"]) > 300
        even = control(targets, splits, edges=EDGES, groups=names)
        assert not set(names[even["train"]]) & (set(names[even["test"]]) | set(names[even["val"]]))


def test_a_bin_of_one_group_is_not_evaluated_and_is_trained_on():
    targets = np.repeat([0.5, 1.5], 50)
    groups = np.append(np.zeros(50, int), np.arange(1, 51))
    splits = protocol(targets, "blind_spot", edges=[0, 1, 2], test_per_bin=10, most=99, gap=(9, 9), groups=groups)
    assert set(targets[splits["test"]]) == set(targets[splits["val"]]) == {1.5}
    assert np.sum(targets[splits["train"]] == 0.5) == 50


def test_groups_of_one_row_are_no_groups(targets):
    settings = {"edges": EDGES, "test_per_bin": 20, "most": 50, **SETTINGS["extrapolation"]}
    plain, grouped = (protocol(targets, "extrapolation", groups=g, **settings) for g in (None, np.arange(len(targets))))
    for split in plain:
        np.testing.assert_array_equal(plain[split], grouped[split])


def test_the_control_is_as_large_and_even(targets):
    splits = protocol(targets, "extrapolation", edges=EDGES, test_per_bin=20, most=200, **SETTINGS["extrapolation"])
    even = control(targets, splits, edges=EDGES, seed=3)
    np.testing.assert_array_equal(even["test"], splits["test"])
    np.testing.assert_array_equal(even["val"], splits["val"])
    assert len(even["train"]) == len(splits["train"]) == len(set(even["train"].tolist()))
    held = np.concatenate([splits["test"], splits["val"]])
    assert not set(even["train"].tolist()) & set(held.tolist())
    inside = np.flatnonzero((targets >= 0) & (targets <= 60))
    room = bins_of(targets, np.setdiff1d(inside, held))
    taken = bins_of(targets, even["train"])
    # Whoever gave fewer than another, by more than one, had no more to give.
    short = taken < taken.max() - 1
    np.testing.assert_array_equal(taken[short], room[short])
    assert 0 < short.sum() < 12
    np.testing.assert_array_equal(control(targets, splits, edges=EDGES, seed=3)["train"], even["train"])


def test_shots_with_zero():
    shots = shots_with_zero([0, 1, 19, 20, 100, 101, 0])
    found = {name: np.flatnonzero(member).tolist() for name, member in shots.items()}
    assert found == {"many": [5], "medium": [3, 4], "few": [1, 2], "zero": [0, 6]}
    assert shots_with_zero([0, 1, 5], many=3, few=0)["medium"].tolist() == [False, True, False]


@pytest.fixture(scope="module")
def utkface_ages():
    """The ages of UTKFace's images, the first of byte-identical ones in archive order."""
    path = SHARED / "data" / "utkface64.zip"
    if not path.exists():
        pytest.skip("needs ../shared")
    first = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".jpg"):
                first.setdefault(hashlib.md5(archive.read(name)).digest(), age_of(name))
    return np.array(list(first.values()))


UTKFACE = [
    ("extrapolation", {"centres": [40], "width": 8, "most": 400}, 6008, [26, 13, 16, 22]),
    ("interpolation", {"centres": [15, 65], "width": 8, "most": 300}, 7098, [30, 33, 14, 0]),
    ("blind_spot", {"gap": (37, 43), "most": 300}, 8032, [31, 3, 0, 7]),
]


@pytest.mark.parametrize(("name", "options", "size", "shots"), UTKFACE)
def test_published_sizes_of_utkface(utkface_ages, name, options, size, shots):
    # recipes 2.22, point 3. Its numbers have no validation set ("T reserved once"), and its 77 ages end at 85: age 90
    # has 40 or more images too, and here it is evaluated unless the edges leave it out.
    assert len(utkface_ages) == 23_351
    low, high = (20, 60) if name == "blind_spot" else (1, 116)
    edges = np.arange(low - 0.5, high + 1)
    splits = protocol(utkface_ages, name, edges=edges, test_per_bin=20, validation_per_bin=0, **options)
    assert len(splits["train"]) == size
    evaluated = np.unique(utkface_ages[splits["test"]])
    if name != "blind_spot":
        assert evaluated[-1] == 90
        evaluated = evaluated[:-1]
        missing = {71, 74, 77, 79, 81, 82, 83, 84}
        assert evaluated.tolist() == [age for age in range(1, 86) if age not in missing]
        assert len(evaluated) == 77
    counts = np.bincount(utkface_ages[splits["train"]].astype(int), minlength=117)
    found = shots_with_zero(counts[evaluated.astype(int)])
    assert [int(member.sum()) for member in found.values()] == shots


def test_a_validation_set_of_utkface_costs_training_rows(utkface_ages):
    sizes = []
    for name, options, _, _ in UTKFACE:
        low, high = (20, 60) if name == "blind_spot" else (1, 116)
        splits = protocol(utkface_ages, name, edges=np.arange(low - 0.5, high + 1), test_per_bin=20, **options)
        sizes.append((len(splits["train"]), len(splits["val"])))
    assert sizes == [(5748, 1560), (6494, 1560), (7711, 820)]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("extra", {}, "unknown protocol 'extra'; one of extrapolation, interpolation, blind_spot"),
        ("extrapolation", {"centres": [1, 2], "width": 1}, "extrapolation takes 1 centres, got 2"),
        ("interpolation", {"centres": [1], "width": 1}, "interpolation takes 2 centres, got 1"),
        ("extrapolation", {"centres": [1]}, "takes finite centres, a positive width and no gap, got .* width None"),
        ("extrapolation", {"centres": [np.nan], "width": 1}, "takes finite centres"),
        ("extrapolation", {"centres": [1], "width": 1, "gap": (0, 1)}, "no gap"),
        ("blind_spot", {}, r"takes a gap \(low, high\) and no width, got gap None"),
        ("blind_spot", {"gap": (2, 1)}, r"got gap \(2, 1\)"),
        ("blind_spot", {"gap": (1, float("nan"))}, r"got gap \(1, nan\)"),
        ("blind_spot", {"gap": (1, 2), "centres": [1]}, "blind_spot takes 0 centres, got 1"),
    ],
)
def test_bad_protocols(name, options, message):
    with pytest.raises(ValueError, match=message):
        bin_weights(name, EDGES, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": [1.0, np.nan]}, "targets: 1 of 2 values are not finite, the first at row 1"),
        ({"targets": np.ones((3, 2))}, r"targets must be \[n\], got shape \(3, 2\)"),
        ({"edges": [0, 2, 1]}, "edges must be at least two increasing finite numbers"),
        ({"edges": [EDGES]}, r"edges must be \[C \+ 1\]"),
        ({"test_per_bin": 0}, "test_per_bin must be an integer of at least 1, not 0"),
        ({"most": 1.5}, "most must be an integer of at least 1, not 1.5"),
        ({"validation_per_bin": -1}, "validation_per_bin must be an integer of at least 0, not -1"),
        ({"seed": -1}, "seed must be an integer of at least 0, not -1"),
        ({"test_per_bin": 2000}, "no bin has 4000 rows, enough for 2000 in test and 2000 in val"),
        ({"gap": (0, 60)}, "blind_spot: no row is left to train on"),
        ({"groups": [1, 2]}, r"groups must be one for each of the 3007 rows, got shape \(2,\)"),
        ({"groups": np.full(3007, np.nan)}, "groups: 3007 of 3007 values are not finite"),
    ],
)
def test_bad_settings(targets, options, message):
    settings = {"targets": targets, "edges": EDGES, "test_per_bin": 20, "most": 50, "gap": (20, 32)} | options
    with pytest.raises(ValueError, match=message):
        protocol(settings.pop("targets"), "blind_spot", **settings)


def test_a_control_of_other_targets_is_refused(targets):
    splits = {"train": np.arange(900), "val": np.arange(0), "test": np.arange(900, 1000)}
    with pytest.raises(ValueError, match=r"900 training rows are more than the \d+ outside val and test"):
        control(targets[:1000], splits, edges=[20, 25, 30])
