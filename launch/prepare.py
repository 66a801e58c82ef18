"""Prepares a data set of images for training: checks every image, writes it as TFDS does, and says what is in it.

python launch/prepare.py --dataset=utkface --manual_dir=../shared/data
python launch/prepare.py --dataset=imdb_wiki_dir --manual_dir=/data/imdb_wiki    # imdb_wiki.csv, and the images
python launch/prepare.py --dataset=nyud2 --manual_dir=/data/nyu_data.zip    # the release of Hu et al., or its folder
python launch/prepare.py --table=houses.csv --images=photos --target=price --unit=EUR --name=houses    # your own
python launch/prepare.py --depth_images=../shared/data/nyu_depth_363pairs.tar --depth_scale=1/25.5 --name=nyu_small

A table of your own has a row per image: a column of paths below --images, one of numbers, and maybe one called split
(train, val, test); without it val and test are drawn, balanced over the target. Train with configs/own_images.py.
Pictures of your own with depth maps are images/ID.jpg (or .png) and depths/ID.png (of 8 or 16 bits; or .npy), in a
folder or an archive; a tenth of them is drawn for val, two for test.
A stopped preparation goes on with the check of the images, its slow part, where it was; writing starts again.
A finished one only prints its summary again, and refuses a source with other files: --overwrite prepares it again.
"""

from pathlib import Path
from typing import Any

from absl import flags

from regcls_jax import cli
from regcls_jax.path_flags import define_path

DATASET = flags.DEFINE_enum(
    "dataset", None, ["utkface", "imdb_wiki_dir", "agedb_dir", "nyud2"], "A published data set."
)
MANUAL_DIR = define_path(
    "manual_dir",
    None,
    "With --dataset: folder of the images, or of zip or tar archives with them (UTKFace: utkface*.zip, utkface*.tgz); "
    "also of the table imdb_wiki.csv or agedb.csv with columns path, age, split; of nyud2 with nyu2_train.csv and "
    "nyu2_test.csv, or the archive itself. Needed once; when given again, it is compared with what was prepared.",
)
TABLE = define_path("table", None, "A CSV table of your own, in place of --dataset.")
IMAGES = define_path("images", None, "With --table: folder of the images, or of archives with them.")
TARGET = flags.DEFINE_string("target", None, "With --table: the column of numbers to predict.")
DEPTH_IMAGES = define_path(
    "depth_images", None, "Folder or archive with your own images/ and depths/, in place of --dataset."
)
DEPTH_SCALE = flags.DEFINE_string(
    "depth_scale", None, "With --depth_images: metres per unit of the depth maps, such as 1/25.5, 0.001 or 1."
)
NAME = flags.DEFINE_string("name", None, "With --table or --depth_images: what the data set is called from now on.")
UNIT = flags.DEFINE_string("unit", "", "With --table: unit of the target, such as EUR; for reports.")
PATH_COLUMN = flags.DEFINE_string("path_column", "path", "With --table: the column of the images' paths.")
SEED = flags.DEFINE_integer("seed", 0, "With --table or --depth_images: of the draw of val and test.", lower_bound=0)
DATA_DIR = define_path("data_dir", cli.PREPARED_DIR, "Folder of all prepared data sets.")
MAX_SKIPPED = flags.DEFINE_float(
    "max_skipped",
    0.001,
    "Share of the images, rounded up, that may be missing or corrupt; they are listed.",
    lower_bound=0.0,
    upper_bound=0.999,
)
DROP_DUPLICATES = flags.DEFINE_bool(
    "drop_duplicates", False, "Keep only the first of byte-identical images (UTKFace: in any case)."
)
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Prepare again what was prepared before; kept until that succeeds.")


def main() -> None:
    published, table = [DATASET.value, MANUAL_DIR.value], [TABLE.value, IMAGES.value, TARGET.value]
    depths, name = [DEPTH_IMAGES.value, DEPTH_SCALE.value], NAME.value
    if DATASET.value and not any([*table, *depths, name]):
        made, place, text = (_depths if DATASET.value == "nyud2" else _images)(DATASET.value)
    elif name and all(table) and not any([*published, *depths]):
        made, place, text = _images(name)
    elif name and all(depths) and not any([*published, *table]):
        made, place, text = _depths(name)
    else:
        raise ValueError(
            "give either --dataset and --manual_dir, or --table, --images, --target and --name, or --depth_images, "
            "--depth_scale and --name"
        )
    print(f"{'Prepared' if made else 'Prepared before'}: {place}")
    print(text)


def _images(name: str) -> tuple[bool, Path, str]:
    """Prepares images with a number each; whether it had to, where they are, and what is in them."""
    from regcls_jax.data.images.prepare import prepare, prepare_own  # slow imports: --help must not wait for them
    from regcls_jax.data.images.splits import PLACES, findings, load_images
    from regcls_jax.report.images.data_summary import summary

    data_dir, options = DATA_DIR.value, {**_options(), "drop_duplicates": DROP_DUPLICATES.value}
    if DATASET.value:
        made = prepare(name, MANUAL_DIR.value, data_dir, **options)
    else:
        own: dict[str, Any] = {"target": TARGET.value, "unit": UNIT.value, "path_column": PATH_COLUMN.value}
        made = prepare_own(name, TABLE.value, IMAGES.value, data_dir, seed=SEED.value, **own, **options)
    return made, PLACES.folder_of(name, data_dir), summary(load_images(name, data_dir), findings(name, data_dir))


def _depths(name: str) -> tuple[bool, Path, str]:
    """As `_images`, of images with depth maps."""
    from regcls_jax.data.depth.prepare import prepare_depths, prepare_nyud2
    from regcls_jax.data.depth.sources import metres_per_unit
    from regcls_jax.data.depth.splits import PLACES, findings, load_depths
    from regcls_jax.report.depth.summary import summary

    if DROP_DUPLICATES.value:
        raise ValueError("--drop_duplicates is for images with a number each, not for depth maps")
    data_dir = DATA_DIR.value
    if DATASET.value:
        made = prepare_nyud2(MANUAL_DIR.value, data_dir, **_options())
    else:
        own: dict[str, Any] = {"scale": metres_per_unit(DEPTH_SCALE.value or "", "--depth_scale"), "seed": SEED.value}
        made = prepare_depths(name, DEPTH_IMAGES.value, data_dir, **own, **_options())
    return made, PLACES.folder_of(name, data_dir), summary(load_depths(name, data_dir), findings(name, data_dir))


def _options() -> dict[str, Any]:
    """What holds for any data set."""
    return {"max_skipped": MAX_SKIPPED.value, "overwrite": OVERWRITE.value}


if __name__ == "__main__":
    cli.run(main)
