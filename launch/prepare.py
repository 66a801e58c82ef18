"""Prepares a data set of images for training: checks every image, writes it as TFDS does, and says what is in it.

python launch/prepare.py --dataset=utkface --manual_dir=../shared/data
python launch/prepare.py --dataset=imdb_wiki_dir --manual_dir=/data/imdb_wiki    # imdb_wiki.csv, and the images
python launch/prepare.py --table=houses.csv --images=photos --target=price --unit=EUR --name=houses    # your own

A table of your own has a row per image: a column of paths below --images, one of numbers, and maybe one called split
(train, val, test); without it val and test are drawn, balanced over the target. Train with configs/own_images.py.
A stopped preparation goes on with the check of the images, its slow part, where it was; writing starts again.
A finished one only prints its summary again, and refuses data that have changed since: --overwrite prepares them again.
"""

from typing import Any

from absl import flags

from regcls_jax import cli
from regcls_jax.path_flags import define_path

DATASET = flags.DEFINE_enum("dataset", None, ["utkface", "imdb_wiki_dir", "agedb_dir"], "A published data set.")
MANUAL_DIR = define_path(
    "manual_dir",
    None,
    "With --dataset: folder of the images, or of zip or tar archives with them (UTKFace: utkface*.zip, utkface*.tgz); "
    "also of the table imdb_wiki.csv or agedb.csv with columns path, age, split. Needed once; when given again, it is "
    "compared with what was prepared.",
)
TABLE = define_path("table", None, "A CSV table of your own, in place of --dataset.")
IMAGES = define_path("images", None, "With --table: folder of the images, or of archives with them.")
TARGET = flags.DEFINE_string("target", None, "With --table: the column of numbers to predict.")
NAME = flags.DEFINE_string("name", None, "With --table: what the data set is called from now on.")
UNIT = flags.DEFINE_string("unit", "", "With --table: unit of the target, such as EUR; for reports.")
PATH_COLUMN = flags.DEFINE_string("path_column", "path", "With --table: the column of the images' paths.")
SEED = flags.DEFINE_integer("seed", 0, "With --table: of the draw of val and test.", lower_bound=0)
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
    published, own = [DATASET.value, MANUAL_DIR.value], [TABLE.value, IMAGES.value, TARGET.value, NAME.value]
    name, data_dir = DATASET.value or NAME.value, DATA_DIR.value
    if name is None or not ((DATASET.value and not any(own)) or (all(own) and not any(published))):
        raise ValueError("give either --dataset and --manual_dir, or --table, --images, --target and --name")

    from regcls_jax.data.images.prepare import prepare, prepare_own  # slow imports: --help must not wait for them
    from regcls_jax.data.images.splits import findings, folder_of, load_images
    from regcls_jax.report.images.data_summary import summary

    options: dict[str, Any] = {
        "max_skipped": MAX_SKIPPED.value,
        "drop_duplicates": DROP_DUPLICATES.value,
        "overwrite": OVERWRITE.value,
    }
    if DATASET.value:
        made = prepare(name, MANUAL_DIR.value, data_dir, **options)
    else:
        options |= {"target": TARGET.value, "unit": UNIT.value, "path_column": PATH_COLUMN.value, "seed": SEED.value}
        made = prepare_own(name, TABLE.value, IMAGES.value, data_dir, **options)
    print(f"{'Prepared' if made else 'Prepared before'}: {folder_of(name, data_dir)}")
    print(summary(load_images(name, data_dir), findings(name, data_dir)))


if __name__ == "__main__":
    cli.run(main)
