"""A table or features of the user's own, read and checked: numbers, categories and targets, with one line per mistake.

Rows are counted from 1, the header of a text file not being one.
"""

import difflib
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from regcls_jax.checks import first_line
from regcls_jax.store.files import digest

TEXT, PARQUET, ARRAYS = (".csv", ".tsv", ".csv.gz", ".tsv.gz"), (".parquet", ".pq"), (".npz",)
# Rows that a table must have.
LEAST_ROWS = 50
# A column of texts with more different ones names rows or holds free text.
MOST_CATEGORIES = 1000
# A column that explains more than this of the target's variance repeats it.
LEAK = 1 - 1e-8
# Rows that a category must have on average before its means can tell a leak from chance.
ROWS_OF_A_CATEGORY = 5
# Rows with a value that a column must have before it can repeat the target other than by chance.
LEAST_KNOWN = 10
# The share of the texts of a column that must read as dates, or as numbers, before it holds dates, or numbers.
DATES, NUMBERS = 0.9, 0.9
# Larger numbers are infinite in float32, which the networks compute in; smaller differences, of numbers with an offset,
# are none.
LARGEST, PRECISION = 1e37, 1e-5


class OwnTable(NamedTuple):
    """n rows as they were read.

    numbers: float64 [n, D]; NaN where a value is missing.
    categories: int32 [n, K], by column the number of the category, -1 where it is missing.
    sizes: how many categories each of the K columns has.
    targets: float64 [n, t].
    target_names: of the t targets.
    groups: int32 [n]: rows of one group are never in two splits; None: every row is one of its own.
    names: of the columns, first those of numbers, then those of categories.
    digest: of all of it.
    """

    numbers: np.ndarray
    categories: np.ndarray
    sizes: tuple[int, ...]
    targets: np.ndarray
    target_names: tuple[str, ...]
    groups: np.ndarray | None
    names: tuple[str, ...]
    digest: str


def read_table(
    path: str | os.PathLike, targets: Sequence[str], *, group: str = "", drop: Sequence[str] = ()
) -> OwnTable:
    """Reads a table (.csv, .tsv, also gzipped; .parquet) or features (.npz with x [n, D] and y [n] or [n, t]).

    Args:
      path: the file.
      targets: the columns to predict; of features, names for the columns of y, or nothing.
      group: a column whose equal values are never in two splits, and which is no input; "" for none.
      drop: columns that are left out.

    Raises:
      OSError: the file cannot be read.
      ValueError: something in it cannot be trained on; the message names column, row and remedy.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.name.endswith(ARRAYS):
        return _features(path, targets, group, drop)
    frame = _frame(path)
    for what, names in (("target", targets), ("group", [group] if group else []), ("drop", drop)):
        for name in names:
            _check_column(path, frame, name, what)
    if not targets:
        raise ValueError(f"{path}: name the column to predict; its columns are {_listed(frame.columns)}")
    if len(set(targets)) < len(targets):
        raise ValueError(f"the target columns {', '.join(targets)} name one twice")
    if both := {*targets, group} & {*drop}:
        raise ValueError(f"{path}: column {min(both)!r} cannot be dropped: it is the target or the group")
    return _table(path, frame.drop(columns=list(drop)), tuple(targets), group)


def _listed(names: Sequence[object]) -> str:
    some = ", ".join(map(str, list(names)[:12]))
    return some + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _check_column(path: Path, frame: pd.DataFrame, name: str, what: str) -> None:
    if name not in frame:
        near = difflib.get_close_matches(name, [str(column) for column in frame.columns], 2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"its columns are {_listed(frame.columns)}"
        raise ValueError(f"{path} has no column {name!r} ({what}); {hint}")


def _frame(path: Path) -> pd.DataFrame:
    """The table as pandas reads it, with unique column names."""
    if path.name.endswith(PARQUET):
        try:
            frame = pd.read_parquet(path)
        except ImportError:
            raise ValueError(f"{path}: reading Parquet needs pyarrow: pip install pyarrow") from None
        except Exception as error:  # what a damaged file raises is pyarrow's own
            raise ValueError(f"{path} is no readable Parquet file: {first_line(error)}") from error
        header = [str(name) for name in frame.columns]
    elif path.name.endswith(TEXT):
        separator = "\t" if ".tsv" in path.name else ","
        try:
            # pandas would rename the second of two columns of one name.
            options = {"sep": separator, "skipinitialspace": True}
            first = pd.read_csv(path, **options, header=None, nrows=1, dtype=str, keep_default_na=False)
            frame = pd.read_csv(path, **options, low_memory=False)
        except pd.errors.EmptyDataError:
            raise ValueError(f"{path} is empty") from None
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"{path} cannot be read as a table: {first_line(error)}") from error
        header = [str(name).strip() for name in first.iloc[0]]
        if len(header) < frame.shape[1] or not isinstance(frame.index, pd.RangeIndex):
            raise ValueError(f"{path}: its rows have more cells than the header has names ({len(header)})")
    else:
        raise ValueError(
            f"{path}: a table is a file {', '.join(TEXT + PARQUET)}, features are a file .npz with x and y"
        )
    if "" in header:
        raise ValueError(
            f"{path}: column {header.index('') + 1} has no name; if it holds the row numbers of a saved DataFrame, "
            "save it with index=False, else name it"
        )
    if twice := [name for place, name in enumerate(header) if name in header[:place]]:
        raise ValueError(f"{path} has two columns {twice[0]!r}; rename one")
    frame.columns = header
    return frame


def _check_rows(path: Path, rows: int) -> None:
    if rows < LEAST_ROWS:
        raise ValueError(f"{path} has {rows} row(s); at least {LEAST_ROWS} are needed to compare anything")


def _features(path: Path, targets: Sequence[str], group: str, drop: Sequence[str]) -> OwnTable:
    if group or drop:
        raise ValueError(f"{path} has no named columns, so there is no group, and nothing to drop by name")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is no readable .npz file: {first_line(error)}") from error
    if missing := [name for name in ("x", "y") if name not in arrays]:
        raise ValueError(f"{path} has no array {missing[0]!r}; it holds {_listed(list(arrays)) or 'nothing'}")
    x, y = arrays["x"], arrays["y"]
    for name, array in (("x", x), ("y", y)):
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{path}: {name} holds {array.dtype}, not numbers")
    y = y[:, None] if y.ndim == 1 else y
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ValueError(
            f"{path}: x must be [n, D] and y [n] or [n, t], got {arrays['x'].shape} and {arrays['y'].shape}"
        )
    names = tuple(targets) or (("y",) if y.shape[1] == 1 else tuple(f"y{place}" for place in range(y.shape[1])))
    if len(names) != y.shape[1]:
        raise ValueError(f"{path}: y has {y.shape[1]} columns, but {len(names)} target names are given")
    _check_rows(path, len(x))
    columns = tuple(f"x{place}" for place in range(x.shape[1]))
    numbers, values = x.astype(np.float64), y.astype(np.float64)
    for name, column in zip(names, values.T, strict=True):
        _check_target(path, name, column)
    for name, column in zip(columns, numbers.T, strict=True):
        _check_number(path, name, column)
        _check_leak(path, name, column, names, values)
    return _made(numbers, np.zeros((len(x), 0), np.int32), (), values, names, None, columns)


def _table(path: Path, frame: pd.DataFrame, targets: tuple[str, ...], group: str) -> OwnTable:
    _check_rows(path, len(frame))
    values = np.stack([_target(path, name, frame[name]) for name in targets], 1)
    groups = None
    if group:
        if group in targets:
            raise ValueError(f"{path}: column {group!r} cannot be both the target and the group")
        if frame[group].isna().any():
            raise ValueError(f"{path}, column {group!r}, row {_first(frame[group].isna())}: a row has no group")
        groups = pd.factorize(frame[group])[0].astype(np.int32)
    inputs = frame.drop(columns=[*targets, *([group] if group else [])])
    inputs = pd.DataFrame({name: _read_as_numbers(path, str(name), column) for name, column in inputs.items()})
    if not inputs.shape[1]:
        raise ValueError(f"{path} has no column besides {', '.join(targets)} to predict from")
    numbers, categories = dict(_numbers(path, inputs)), dict(_categories(path, inputs))
    for name, column in numbers.items():
        _check_leak(path, name, column, targets, values)
    for name, (codes, _) in categories.items():
        _check_category_leak(path, name, codes, targets, values)
    return _made(
        np.stack([*numbers.values()], 1) if numbers else np.zeros((len(frame), 0)),
        np.stack([codes for codes, _ in categories.values()], 1) if categories else np.zeros((len(frame), 0), np.int32),
        tuple(size for _, size in categories.values()),
        values,
        targets,
        groups,
        (*numbers, *categories),
    )


def _made(
    numbers: np.ndarray,
    categories: np.ndarray,
    sizes: tuple[int, ...],
    values: np.ndarray,
    targets: tuple[str, ...],
    groups: np.ndarray | None,
    names: tuple[str, ...],
) -> OwnTable:
    found = digest(numbers, categories, values, *([] if groups is None else [groups]))
    return OwnTable(numbers, categories, sizes, values, targets, groups, names, found)


def _first(bad: "pd.Series | np.ndarray") -> int:
    """The row of the first True."""
    return int(np.argmax(np.asarray(bad))) + 1


def _is_text(column: pd.Series) -> bool:
    return not (pd.api.types.is_numeric_dtype(column) or _is_time(column))


def _is_time(column: pd.Series) -> bool:
    types = pd.api.types
    return types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column)


def _parsed(column: pd.Series) -> tuple[pd.Series, pd.Series]:
    """A column that is not of numbers as numbers, NaN where a cell is none; and which cells hold something else."""
    read = pd.Series(np.nan, column.index)
    if not _is_time(column):
        read = pd.to_numeric(column.astype(object), errors="coerce")
    return read, read.isna() & column.notna()


def _read_as_numbers(path: Path, name: str, column: pd.Series) -> pd.Series:
    """A column of texts or objects as numbers where it holds numbers; itself where it holds texts.

    Raises ValueError where most of its cells are numbers, but not all.
    """
    if not _is_text(column):
        return column
    read, bad = _parsed(column)
    if column.isna().all() or bad.sum() > (1 - NUMBERS) * column.notna().sum():
        return column
    if bad.any():
        row = _first(bad)
        raise ValueError(
            f"{path}, column {name!r}, row {row}: {column.iloc[row - 1]!r} is no number, as {int(bad.sum())} of its "
            f"cells; leave them empty, or drop the column (--drop={name})"
        )
    return read


def _target(path: Path, name: str, column: pd.Series) -> np.ndarray:
    where = f"{path}, column {name!r}"
    if not pd.api.types.is_numeric_dtype(column):
        read, bad = _parsed(column)
        if bad.any():
            row = _first(bad)
            raise ValueError(f"{where}, row {row}: the target {str(column.iloc[row - 1])!r} is no number")
        column = read
    if column.isna().any():
        several = int(column.isna().sum())
        raise ValueError(f"{where}, row {_first(column.isna())}: no target; remove the {several} row(s) without one")
    values = column.to_numpy(np.float64)
    _check_target(path, name, values)
    return values


def _check_target(path: Path, name: str, values: np.ndarray) -> None:
    where = f"{path}, column {name!r}"
    if not np.isfinite(values).all():
        row = _first(~np.isfinite(values))
        raise ValueError(f"{where}, row {row}: the target is {values[row - 1]}")
    if values.min() == values.max():
        raise ValueError(f"{where}: every target is {values[0]:g}; there is nothing to predict")
    if (largest := np.abs(values).max()) > LARGEST or values.std() < PRECISION * largest:
        raise ValueError(
            f"{where}: targets from {values.min():.10g} to {values.max():.10g} are not told apart in float32; subtract "
            "a constant, or choose another unit"
        )


def _check_number(path: Path, name: str, values: np.ndarray) -> None:
    where = f"{path}, column {name!r}"
    if (infinite := np.abs(values) > LARGEST).any():
        raise ValueError(f"{where}, row {_first(infinite)}: infinite; mark missing values as such, or drop it")
    if np.isnan(values).all():
        raise ValueError(f"{where} has no value in any row; drop it (--drop={name})")


def _numbers(path: Path, frame: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    for name, column in frame.items():
        where = f"{path}, column {name!r}"
        if _is_time(column) or (_is_text(column) and _holds_dates(column)):
            row = _first(column.notna())
            raise ValueError(
                f"{where}, row {row}: dates such as {column.iloc[row - 1]} are no inputs; turn them into numbers (days "
                f"since a date, month), or drop the column (--drop={name})"
            )
        if column.isna().all():
            raise ValueError(f"{where} has no value in any row; drop it (--drop={name})")
        if not _is_text(column):
            values = column.astype(np.float64).to_numpy(np.float64, na_value=np.nan)
            _check_number(path, str(name), values)
            yield str(name), values


def _holds_dates(column: pd.Series) -> bool:
    some = column.dropna().astype(str).head(200)
    # Bare numbers, fractions and short codes read as dates, too.
    some = some[some.str.contains(r"\d{4}[-/.]\d|\d[-/.]\d+[-/.]\d|\d:\d\d", regex=True)]
    if len(some) < DATES * min(200, column.notna().sum()) or not len(some):
        return False
    return bool(pd.to_datetime(some, errors="coerce", format="mixed").notna().mean() >= DATES)


def _categories(path: Path, frame: pd.DataFrame) -> Iterator[tuple[str, tuple[np.ndarray, int]]]:
    for name, column in frame.items():
        if not _is_text(column):
            continue
        codes, found = pd.factorize(column.astype(object).map(str, na_action="ignore"))
        most = min(MOST_CATEGORIES, len(column) // 2)
        if len(found) > most:
            raise ValueError(
                f"{path}, column {name!r}: {len(found):,} different texts in {len(column):,} rows, such as "
                f"{found[0]!r}; it names rows or is free text (--drop={name})"
            )
        yield str(name), (codes.astype(np.int32), len(found))


def _leak(path: Path, name: str, target: str, share: float) -> ValueError:
    return ValueError(
        f"{path}, column {name!r} repeats the target {target!r} (it explains {100 * share:.4f} % of it): a leak, for "
        f"which every model would be perfect; drop it (--drop={name})"
    )


def _check_leak(path: Path, name: str, column: np.ndarray, targets: Sequence[str], values: np.ndarray) -> None:
    known = ~np.isnan(column)
    if known.sum() < LEAST_KNOWN:
        return
    for target, of in zip(targets, values.T, strict=True):
        own, other = column[known], of[known]
        if np.ptp(own) and np.ptp(other) and (share := float(np.corrcoef(own, other)[0, 1] ** 2)) > LEAK:
            raise _leak(path, name, target, share)


def _check_category_leak(path: Path, name: str, codes: np.ndarray, targets: Sequence[str], values: np.ndarray) -> None:
    known = codes >= 0
    sizes = np.bincount(codes[known])
    if known.sum() < ROWS_OF_A_CATEGORY * np.count_nonzero(sizes):
        return
    for target, of in zip(targets, values.T, strict=True):
        means = np.bincount(codes[known], of[known]) / np.maximum(sizes, 1)
        left = np.square(of[known] - means[codes[known]]).sum()
        total = np.square(of[known] - of[known].mean()).sum()
        if total and (share := float(1 - left / total)) > LEAK:
            raise _leak(path, name, target, share)
