"""Prepares a data set of faces for training: checks every image, writes it as TFDS does, and says what is in it.

python launch/prepare.py --dataset=utkface --manual_dir=../shared/data
python launch/prepare.py --dataset=imdb_wiki_dir --manual_dir=/data/imdb_wiki    # imdb_wiki.csv, and the images

A stopped preparation goes on with the check of the images, its slow part, where it was; writing starts again.
A finished one only prints its summary again.
"""

from absl import flags, logging

from regcls_jax import cli

DATASET = flags.DEFINE_enum("dataset", None, ["utkface", "imdb_wiki_dir", "agedb_dir"], "Which data set.")
MANUAL_DIR = flags.DEFINE_string(
    "manual_dir",
    None,
    "Folder of the images, or of zip archives with them (UTKFace: utkface*.zip); also of the table imdb_wiki.csv or "
    "agedb.csv with columns path, age, split. Not read once the data set is prepared.",
)
DATA_DIR = flags.DEFINE_string("data_dir", cli.PREPARED_DIR, "Folder of all prepared data sets.")
MAX_SKIPPED = flags.DEFINE_float(
    "max_skipped",
    0.001,
    "Share of the images, rounded up, that may be missing or corrupt; they are listed.",
    lower_bound=0.0,
    upper_bound=0.999,
)
flags.mark_flags_as_required(["dataset", "manual_dir"])


def main() -> None:
    logging.set_verbosity(logging.WARNING)  # TFDS tells of every file it writes
    from regcls_jax.data.images.builders import prepare  # slow imports: --help must not wait for them
    from regcls_jax.data.images.splits import folder_of, left_out, load_splits
    from regcls_jax.report.images.data_summary import summary

    dataset, data_dir = DATASET.value, DATA_DIR.value
    made = prepare(dataset, MANUAL_DIR.value, data_dir, max_skipped=MAX_SKIPPED.value)
    print(f"{'Prepared' if made else 'Prepared before'}: {folder_of(dataset, data_dir)}")
    print(summary(dataset, load_splits(dataset, data_dir), left_out(dataset, data_dir)))


if __name__ == "__main__":
    cli.run(main)
