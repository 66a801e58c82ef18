"""TFDS builders of pictures with depth maps. They need no TensorFlow as long as the files are ArrayRecords.

`tfds` users get the features image (RGB), depth (the bytes of its file) and name; training reads the files through
`load_depths`.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from regcls_jax.data import nyud2
from regcls_jax.data.depth.histogram import count_depths
from regcls_jax.data.depth.pairs import PairFiles, seen_depths, usable_pair
from regcls_jax.data.depth.sources import Source
from regcls_jax.data.depth.splits import digest_of
from regcls_jax.data.depth.transforms import View
from regcls_jax.data.images.check import MAX_SKIPPED, Checked, check_most
from regcls_jax.data.images.duplicates import groups_across_splits
from regcls_jax.data.images.table import ImageTable
from regcls_jax.data.places import FACTS, LABELS, LEFT_OUT
from regcls_jax.data.prepared import SPLITS
from regcls_jax.store.files import to_json, write_atomic

# Pictures whose features are the statistics of feature smoothing, if the source does not list them.
STATISTICS = 600


class DepthBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]  # of untyped TFDS
    """Stores pictures and depth maps as they are, without re-encoding, in the order of their split."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, source: Source | None = None, max_skipped: float = MAX_SKIPPED, **options: Any) -> None:
        """Prepares `source`; without one it only reads what was prepared.

        `max_skipped` is as in `prepare_nyud2`, the options are those of every TFDS builder.
        """
        super().__init__(**options)
        self._source, self._max_skipped = source, max_skipped

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(), "depth": tfds.features.Text(), "name": tfds.features.Text()}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,  # so that name i of a split is record i
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[tuple[int, Any]]]:
        source, view = self._source, View()
        if source is None:
            raise ValueError("depth maps are prepared by launch/prepare.py")
        names = [name for split in SPLITS for name in source.splits[split]]
        folder = Path(self.data_dir_root) / "checks" / self.name
        checked = check_most(
            source.pairs, [*names, *source.alone], folder, self._max_skipped, usable=usable_pair, samples="pairs"
        )
        kept = {name: [found for found in source.splits[name] if found in checked.digests] for name in SPLITS}
        if empty := [name for name, rows in kept.items() if not rows]:
            raise ValueError(
                f"no pair that can be used is in the split {empty[0]}; mend the files, or choose another seed"
            )
        remarks: list[str] = []
        labels = {f"{name}_names": np.array(rows) for name, rows in kept.items()}
        labels["statistics_rows"] = _statistics_rows(source, kept["train"], remarks)
        if source.balanced:
            labels["test_mask"] = _test_mask(source, kept["test"], view, remarks)
        found = count_depths(source.pairs, kept["train"], source.scales["train"], view)
        labels |= {"histogram_values": found.values, "histogram_counts": found.counts}
        self._write(labels, checked, kept, {"scales": dict(source.scales), "source": source.identity()}, remarks)
        return {name: self._generate_examples(source.pairs, rows) for name, rows in kept.items()}

    def _write(
        self,
        labels: dict[str, np.ndarray],
        checked: Checked,
        kept: dict[str, list[str]],
        facts: dict[str, Any],
        remarks: list[str],
    ) -> None:
        """Writes what is known of all pairs beside them."""
        folder, buffer = Path(self.data_path), io.BytesIO()
        arrays: dict[str, Any] = labels
        np.savez(buffer, **arrays)
        # TFDS renames the whole folder when everything in it is complete.
        write_atomic(folder / LABELS, buffer.getbuffer())
        write_atomic(folder / FACTS, to_json({**facts, "mask_shape": [*View()], "digest": digest_of(labels)}))
        names = np.array([name for rows in kept.values() for name in rows])
        splits = np.repeat([*kept], [*map(len, kept.values())])
        across = groups_across_splits(ImageTable(names, np.zeros(len(names)), splits), checked.digests)
        rotated = [name for name in checked.rotated if name in checked.digests]
        left_out = {"faults": checked.faults, "rotated": rotated, "across_splits": across, "remarks": remarks}
        write_atomic(folder / LEFT_OUT, to_json(left_out))

    def _generate_examples(self, pairs: PairFiles, names: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        for row, name in enumerate(names):
            image, depth = pairs.read(name)
            yield row, {"image": io.BytesIO(image), "depth": depth, "name": name}


class Nyud2(DepthBuilder, skip_registration=True):  # type: ignore[call-arg]  # of untyped TFDS
    """NYUD2-DIR, in the release of Hu et al., with the published split by scenes."""

    name = "nyud2"
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="scenes", description="4 of 5 scenes are trained on")]


class OwnDepths(DepthBuilder, skip_registration=True):  # type: ignore[call-arg]  # of untyped TFDS
    """Any pictures with depth maps; every data set is a config of its own name."""

    name = "own_depths"


def _statistics_rows(source: Source, train: list[str], remarks: list[str]) -> np.ndarray:
    """Row numbers int32 in the training split, in its order."""
    if source.subset is not None:
        chosen = np.flatnonzero(np.isin(train, source.subset))
        remarks.append(
            f"feature smoothing: {len(chosen)} of the {len(source.subset)} pictures of {nyud2.SUBSET} are trained on, "
            "and give its statistics"
        )
        if len(chosen):
            return chosen.astype(np.int32)
    number = min(STATISTICS, len(train))
    chosen = np.random.default_rng(source.seed).choice(len(train), number, replace=False)
    remarks.append(f"feature smoothing: {number} training pictures, drawn with seed {source.seed}, give its statistics")
    return np.sort(chosen).astype(np.int32)


def _test_mask(source: Source, test: list[str], view: View, remarks: list[str]) -> np.ndarray:
    """Packed bits uint8 [n, ...] of the pixels of the test pictures that are evaluated."""
    if source.mask is not None:
        mask = source.mask[np.isin(source.splits["test"], test)]
        remarks.append(f"evaluated test pixels: {mask.sum():,}, those of {nyud2.MASK}")
    else:
        depths = np.stack([*seen_depths(source.pairs, test, source.scales["test"], view, "Balancing")])
        mask = nyud2.balanced_mask(depths, source.seed)
        remarks.append(
            f"evaluated test pixels: {mask.sum():,}, equally many of every bucket of .1 m from .7 to 10 m, drawn with "
            f"seed {source.seed}; the published draw has no seed, and {nyud2.MASK} was not there"
        )
    return np.packbits(mask.reshape(len(mask), -1), axis=1)
