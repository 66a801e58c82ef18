"""Splits that ask for targets training has few or none of: extrapolation, interpolation, blind spot (recipes 2.22).

The definition is ours, for any target; Puetz et al. draw with replacement, and their validation set is as imbalanced as
their training set (recipes 2.22). Here nothing is drawn twice, and val and test hold as many rows of every bin.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from regcls_jax import binning
from regcls_jax.checks import check_integer, is_real

# How many centres the density of the training targets has under each protocol.
CENTRES = {"extrapolation": 1, "interpolation": 2, "blind_spot": 0}
FREE, TEST, VAL = 0, 1, 2


def bin_weights(
    name: str,
    edges: npt.ArrayLike,
    *,
    centres: Sequence[float] = (),
    width: float | None = None,
    gap: tuple[float, float] | None = None,
) -> np.ndarray:
    """The weight [C] of each bin over `edges` [C + 1], of which `protocol` trains on floor(most * weight) rows.

    Args:
      name: "extrapolation", exp(-(y - m)^2 / (2 width^2)) around one centre m, y the middle of the bin;
        "interpolation", the sum of two; "blind_spot", 1 outside the gap and 0 in it.
      edges: increasing, in target units.
      centres: one or two, in target units.
      width: s of the density, in target units; published: a tenth of the range that is evaluated.
      gap: the least and the largest middle of a bin that is not trained on; published: 13 % of that range.

    Raises:
      ValueError: an unknown name, or settings that it has no use for or lacks.
    """
    if name not in CENTRES:
        raise ValueError(f"unknown protocol {name!r}; one of {', '.join(CENTRES)}")
    edges = _edges(edges)
    middles = (edges[:-1] + edges[1:]) / 2
    if len(centres) != CENTRES[name]:
        raise ValueError(f"{name} takes {CENTRES[name]} centres, got {len(centres)}")
    if name == "blind_spot":
        if width is not None or gap is None or not gap[0] <= gap[1]:
            raise ValueError(f"blind_spot takes a gap (low, high) and no width, got gap {gap} and width {width}")
        return np.where((middles >= gap[0]) & (middles <= gap[1]), 0.0, 1.0)
    if gap is not None or not (is_real(width) and 0 < width < np.inf) or not np.all(np.isfinite(centres)):
        raise ValueError(
            f"{name} takes finite centres, a positive width and no gap, got {centres}, width {width} and gap {gap}"
        )
    return np.sum([np.exp(-((middles - centre) ** 2) / (2 * width**2)) for centre in centres], 0)


def protocol(
    targets: npt.ArrayLike,
    name: str,
    *,
    edges: npt.ArrayLike,
    test_per_bin: int,
    most: int,
    centres: Sequence[float] = (),
    width: float | None = None,
    gap: tuple[float, float] | None = None,
    seed: int = 0,
    validation_per_bin: int | None = None,
    groups: npt.ArrayLike | None = None,
) -> dict[str, np.ndarray]:
    """Row numbers int32, ascending, of train, val and test of targets [n] under a protocol (recipes 2.22).

    Test and val hold `test_per_bin` and `validation_per_bin` rows of every bin that is evaluated, drawn without
    replacement; train holds n_b = min(rest, floor(most * w_b)) rows of every bin, evaluated or not, with the weights of
    `bin_weights`. Test and val depend on targets, edges, sizes, groups and seed only: all protocols, and any strength
    of one, are tested on the same rows.

    Args:
      targets: [n], in target units.
      name: "extrapolation", "interpolation" or "blind_spot".
      edges: [C + 1] of the bins; a row beyond them is in no split.
      test_per_bin: T. A bin with fewer than 2 T rows is not evaluated: it has no row in test or val. Nor is a bin
        without T rows for test and enough for val in groups of their own.
      most: rows of a bin of weight 1 in train, at most.
      centres: see `bin_weights`, as `width` and `gap`.
      width: of the density.
      gap: of the blind spot.
      seed: of the draw, >= 0.
      validation_per_bin: T as well unless given; 0 for no validation set.
      groups: [n], such as persons, or digests of images: rows of one group are never in two splits. Bins are served
        from the rarest on, by rows of groups that were drawn before where there are some; what remains of a group in
        test or val is in no split.

    Raises:
      ValueError: NaN, settings that do not fit the protocol, no bin to evaluate or no row to train on.
    """
    weights = bin_weights(name, edges, centres=centres, width=width, gap=gap)
    validation_per_bin = test_per_bin if validation_per_bin is None else validation_per_bin
    for setting, value, least in (
        ("test_per_bin", test_per_bin, 1),
        ("most", most, 1),
        ("validation_per_bin", validation_per_bin, 0),
        ("seed", seed, 0),
    ):
        check_integer(setting, value, least)
    labels, groups = _labels(targets, edges), _groups(groups, len(np.asarray(targets)))
    generator = np.random.default_rng(seed)
    test, val, owner = _held_out(labels, groups, len(weights), test_per_bin, validation_per_bin, generator)
    if not len(test):
        raise ValueError(
            f"no bin has {2 * test_per_bin} rows, enough for {test_per_bin} in test and {validation_per_bin} in val"
        )
    rest = np.where(owner[groups] == FREE, labels, -1)
    train = _draw(rest, np.floor(most * weights).astype(np.int64), generator)
    if not len(train):
        raise ValueError(f"{name}: no row is left to train on")
    return {"train": train, "val": val, "test": test}


def control(
    targets: npt.ArrayLike,
    splits: Mapping[str, np.ndarray],
    *,
    edges: npt.ArrayLike,
    seed: int = 0,
    groups: npt.ArrayLike | None = None,
) -> dict[str, np.ndarray]:
    """The splits of a `protocol` with as many training rows, spread evenly over the bins: what its imbalance costs.

    Val and test are the same. Train takes all rows of a bin up to a number that is the same for all bins; rows that
    are left over to reach the size go to bins drawn at random, one to each.

    Args:
      targets: [n], as `protocol` had them, like `edges` and `groups`.
      splits: what it returned.
      edges: [C + 1].
      seed: of the draw, >= 0.
      groups: [n].

    Raises:
      ValueError: NaN, or fewer free rows than the training set has.
    """
    check_integer("seed", seed, 0)
    labels, groups = _labels(targets, edges), _groups(groups, len(np.asarray(targets)))
    held = np.zeros(groups.max() + 1, bool)
    held[groups[np.concatenate([splits["test"], splits["val"]])]] = True
    rest = np.where(held[groups], -1, labels)
    counts = np.bincount(rest[rest >= 0], minlength=len(np.asarray(edges)) - 1)
    generator = np.random.default_rng(seed)
    train = _draw(rest, _even(counts, len(splits["train"]), generator), generator)
    return {"train": train, "val": splits["val"], "test": splits["test"]}


def shots_with_zero(train_counts: npt.ArrayLike, many: int = 100, few: int = 20) -> dict[str, np.ndarray]:
    """Which bins [C] are many, medium, few and zero shot: `metrics.shot_groups`, whose "few" holds those without rows.

    Raises ValueError as it does.
    """
    # Imported where it is used: with it comes JAX, which splitting has no use for.
    from regcls_jax.metrics.shots import shot_groups

    groups = shot_groups(train_counts, many, few)
    zero = np.asarray(train_counts) == 0
    return {name: member & ~zero for name, member in groups.items()} | {"zero": zero}


def _edges(edges: npt.ArrayLike) -> np.ndarray:
    edges = binning.check_edges(edges)
    if edges.ndim != 1:
        raise ValueError(f"edges must be [C + 1], got shape {edges.shape}")
    return edges


def _labels(targets: npt.ArrayLike, edges: npt.ArrayLike) -> np.ndarray:
    """The bin [n] of targets [n], -1 beyond the edges."""
    targets, edges = binning.check_targets(targets), _edges(edges)
    if targets.ndim != 1:
        raise ValueError(f"targets must be [n], got shape {targets.shape}")
    # In float32, as bins are assigned.
    rounded, ends = targets.astype(np.float32), edges[[0, -1]].astype(np.float32)
    return np.where((rounded < ends[0]) | (rounded > ends[1]), -1, binning.assign(targets, edges))


def _groups(groups: npt.ArrayLike | None, rows: int) -> np.ndarray:
    """The number of each row's group [n]; without groups every row is one."""
    if groups is None:
        return np.arange(rows)
    groups = np.asarray(groups)
    if groups.shape != (rows,):
        raise ValueError(f"groups must be one for each of the {rows} rows, got shape {groups.shape}")
    if groups.dtype.kind == "f":
        binning.check_targets(groups, "groups")
    return np.unique(groups, return_inverse=True)[1]


def _held_out(
    labels: np.ndarray, groups: np.ndarray, bins: int, test: int, val: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of test and of val, and the split that each group belongs to (`FREE`, `TEST`, `VAL`)."""
    owner = np.full(groups.max() + 1, FREE)
    # Groups in a random order, and their rows too.
    shuffled = generator.permutation(len(labels))
    rank = generator.permutation(len(owner))[groups]
    counts = np.bincount(labels[labels >= 0], minlength=bins)
    drawn: dict[int, list[np.ndarray]] = {TEST: [], VAL: []}
    # The rarest bins first: they have the fewest groups to choose from.
    for place in np.argsort(counts, kind="stable"):
        if counts[place] < 2 * test:
            continue
        rows = shuffled[labels[shuffled] == place]
        found, changed = {}, owner.copy()
        for split, size in ((TEST, test), (VAL, val)):
            free = rows[np.isin(changed[groups[rows]], (FREE, split))]
            order = np.lexsort((rank[free], changed[groups[free]] == FREE))
            found[split] = free[order[:size]]
            changed[groups[found[split]]] = split
        if len(found[TEST]) == test and len(found[VAL]) == val:
            owner = changed
            for split, chosen in found.items():
                drawn[split].append(chosen)
    test_rows, val_rows = (_sorted(np.concatenate([np.empty(0, int), *drawn[split]])) for split in (TEST, VAL))
    return test_rows, val_rows, owner


def _even(counts: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """How many of `counts` [C] rows to take so that they are `size`, as evenly as possible."""
    if size > counts.sum():
        raise ValueError(f"{size} training rows are more than the {counts.sum()} outside val and test")
    level = 0
    while np.minimum(counts, level + 1).sum() <= size and level < counts.max():
        level += 1
    taken = np.minimum(counts, level)
    more = generator.permutation(np.flatnonzero(counts > level))[: size - taken.sum()]
    taken[more] += 1
    return taken


def _draw(labels: np.ndarray, sizes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Rows, min(those with the label, sizes[label]) of each label; -1 is none."""
    shuffled = generator.permutation(len(labels))
    rows = [shuffled[labels[shuffled] == place][:size] for place, size in enumerate(sizes)]
    return _sorted(np.concatenate(rows))


def _sorted(rows: np.ndarray) -> np.ndarray:
    return np.sort(rows).astype(np.int32)
