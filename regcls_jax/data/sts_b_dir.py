"""STS-B-DIR (Yang et al. 2021): how similar two sentences are, 0 to 5, as problems of the study engine.

Sentences become features by WordLlama, a table of word vectors that its package ships (`pip install -e '.[text]'`): the
mean of a sentence's vectors. The published network reads words (BiLSTM on GloVe), so only splits and metrics are those
published.
"""

import csv
import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regcls_jax import binning
from regcls_jax.checks import check_integer
from regcls_jax.config import check_keys
from regcls_jax.data.references import references
from regcls_jax.data.source import Groups, Problem, Source
from regcls_jax.metrics.shots import SHOTS, shot_groups

FILES = {"train": "train_new.tsv", "val": "dev_new.tsv", "test": "test_new.tsv"}
DATA_FIELDS = {"folder": "../shared/data/sts_b_dir", "repetitions": 3}
# Published buckets of a tenth over [0, 5], the last with its right edge (recipes 2.2); many, medium and few by these.
EDGES = np.linspace(0, 5, 51)
SENTENCES = ("sentence1", "sentence2")


@dataclasses.dataclass(frozen=True)
class PairsSpec:
    """The published splits; `repetition` is the seed of the trainings."""

    folder: str
    repetition: int

    scenario = ""
    key = 0

    @property
    def name(self) -> str:
        """For messages."""
        return f"STS-B-DIR/repetition {self.repetition}"

    @property
    def seed(self) -> int:
        """Of the trainings."""
        return self.repetition

    @property
    def shared(self) -> str:
        """All repetitions have the same data."""
        return self.folder

    def content(self) -> tuple[Any, ...]:
        """Where the files lie changes nothing."""
        return ("sts_b_dir", self.repetition)

    def columns(self) -> dict[str, Any]:
        """What a result row says of the problem."""
        return {"dataset": "STS-B-DIR", "target": "similarity", "unit": "", "repetition": self.repetition}


def pairs_specs(data: Mapping[str, Any]) -> list[PairsSpec]:
    """One problem per repetition, from the config section `data`: `folder`, which holds FILES, and `repetitions`."""
    check_keys("data.", data, tuple(DATA_FIELDS))
    data = {**DATA_FIELDS, **data}
    if not isinstance(data["folder"], str):
        raise ValueError(f"data.folder must be the path of a folder, got {data['folder']!r}")
    check_integer("data.repetitions", data["repetitions"], 1)
    folder = os.path.abspath(os.path.expanduser(data["folder"]))
    return [PairsSpec(folder, repetition) for repetition in range(data["repetitions"])]


def read_pairs(path: Path) -> pd.DataFrame:
    """The pairs of a file: `sentence1`, `sentence2`, `score` in [0, 5].

    Raises OSError where there is no such file, ValueError, naming file and row, for what is no such table.
    """
    try:
        # Quotes are part of the sentences.
        frame = pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise OSError(
            f"{path} does not exist; data.folder must hold {', '.join(FILES.values())} of STS-B-DIR"
        ) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no table of tab-separated columns: {error}") from None
    if missing := {*SENTENCES, "score"} - {*frame}:
        raise ValueError(f"{path} has no column {min(missing)}")
    scores = pd.to_numeric(frame["score"], errors="coerce")
    if len(wrong := np.flatnonzero(~scores.between(0, 5))):
        raise ValueError(f"{path}, row {wrong[0] + 2}: score {frame['score'][wrong[0]]!r} is no number from 0 to 5")
    for column in SENTENCES:
        if len(empty := np.flatnonzero(frame[column].str.strip() == "")):
            raise ValueError(f"{path}, row {empty[0] + 2}: {column} is empty")
    return frame.assign(score=scores)[[*SENTENCES, "score"]]


def _embed(sentences: Sequence[str]) -> np.ndarray:
    """The mean word vector of every sentence, of length 1, float32 [n, 256]. Raises ValueError without WordLlama."""
    try:
        import wordllama
    except ImportError:
        raise ValueError("sentences need the package wordllama: pip install -e '.[text]'") from None
    # Version 0.4 looks for its tokenizer in a folder of another name than it ships; as a cache it finds it.
    package = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=package, disable_download=True)
    return np.asarray(model.embed([*sentences], norm=True), np.float32)


def features(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Features [n, 2 D + 1] of pairs of unit vectors [n, D], whichever comes first: |u - v|, u v, and their cosine."""
    product = first * second
    return np.concatenate([np.abs(first - second), product, product.sum(1, keepdims=True)], 1)


def shot_names(train_scores: np.ndarray) -> tuple[str, ...]:
    """The names of the buckets, such as "07 few", by how many training pairs are in one (published: 100 and 20)."""
    counts = np.bincount(binning.assign(train_scores, EDGES), minlength=len(EDGES) - 1)
    groups = shot_groups(counts)
    shots = [next(shot for shot in SHOTS if groups[shot][bucket]) for bucket in range(len(counts))]
    return tuple(f"{bucket:02d} {shot}" for bucket, shot in enumerate(shots))


@functools.lru_cache(maxsize=2)
def _load(folder: str) -> Problem:
    frames = {split: read_pairs(Path(folder) / name) for split, name in FILES.items()}
    ends = np.cumsum([0, *map(len, frames.values())])
    splits = {split: np.arange(*ends[at : at + 2], dtype=np.int32) for at, split in enumerate(frames)}
    pairs = pd.concat(frames.values(), ignore_index=True)
    scores = pairs["score"].to_numpy(np.float32)
    inputs = features(*(_embed(pairs[column].tolist()) for column in SENTENCES))
    groups = Groups(binning.assign(scores, EDGES), shot_names(scores[splits["train"]]))
    return Problem(inputs, scores, splits, groups)


def read(spec: PairsSpec, cache_dir: str | os.PathLike) -> Problem:
    """The pairs as features, grouped by buckets of the score. Errors as `read_pairs`."""
    return _load(spec.folder)


# The engine asks again for every repetition, which changes nothing here.
@functools.lru_cache(maxsize=1)
def _fitted(folder: str) -> dict[str, np.ndarray]:
    problem = _load(folder)
    cosine, train = problem.inputs[:, -1], problem.splits["train"]
    line = np.polyfit(cosine[train], problem.targets[train], 1)
    return {"cosine": np.polyval(line, cosine), **references(problem, 0)}


def predictors(spec: PairsSpec, problem: Problem) -> dict[str, np.ndarray]:
    """What a straight line through the cosine, ridge regression and gradient boosting predict for all rows [n]."""
    return _fitted(spec.folder)


def ensure(specs: Sequence[PairsSpec], cache_dir: str | os.PathLike, progress: bool) -> None:
    """Nothing to fetch: the files are the user's. They are read anew, because they may have changed."""
    _load.cache_clear()
    _fitted.cache_clear()


SOURCE = Source(pairs_specs, ensure, read, predictors=predictors)
