"""The file of a config, `<path>.py[:variant]`, and the fields of it that the command line sets."""

import ast
import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from regcls_jax import shipped
from regcls_jax.config import UnknownVariant, check_keys

CONFIGS = shipped.folder("configs")
# Sections of sections of fields; every other one holds fields.
NESTED = ("arms", "scenario")
BOOLS = {"true": True, "1": True, "false": False, "0": False}


def load(given: str) -> dict[str, Any]:
    """What `get_config(variant)` of the file `<path>.py[:variant]` returns, as plain dictionaries.

    Where there is no file configs/<name>.py, that of the package counts.

    Raises:
      ValueError: one line with the file and, where it fails, the line in it.
    """
    path, _, variant = given.partition(":")
    path = _found(path)
    # A config may start from another one: `from configs import fig3`.
    sys.modules.setdefault(CONFIGS.name, _package(CONFIGS))
    loader = importlib.machinery.SourceFileLoader("config_file", path)
    # A spec made of a name alone is never None.
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("config_file", loader))  # type: ignore[arg-type]
    try:
        loader.exec_module(module)
        if not callable(getattr(module, "get_config", None)):
            raise ValueError("it has no function get_config() that returns the config")
        config = module.get_config(*([variant] if variant else []))
        content = _plain(config)
    except UnknownVariant:
        raise
    except Exception as error:
        raise ValueError(_told(path, error)) from error
    if not isinstance(content, dict):
        raise ValueError(f"config file {path}: get_config() returns no ConfigDict but {config!r}")
    return content


def _found(path: str) -> str:
    """The file of a path as it is given. Raises ValueError, with the configs that there are, where there is none."""
    if Path(path).is_file():
        return path
    of_package = CONFIGS / Path(path).name
    if Path(path).parent == Path(CONFIGS.name) and of_package.is_file():
        return str(of_package)
    known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.py")))
    raise ValueError(
        f"config file {path} does not exist; --config is <path>.py or <path>.py:<variant>, and configs/ has {known}"
    )


def _package(folder: Path) -> ModuleType:
    """A package of the modules in a folder, called as that is, wherever it lies."""
    spec = importlib.machinery.ModuleSpec(folder.name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return importlib.util.module_from_spec(spec)


def _plain(value: Any) -> Any:
    if isinstance(value, ConfigDict):
        return value.to_dict()
    return {key: _plain(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value


def _told(path: str, error: Exception) -> str:
    """One line about an error in the file `path`, or in one beside it that it imports."""
    told = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"config file {error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    folder = Path(path).resolve().parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).resolve().parent == folder:
            return f"config file {frame.filename}, line {frame.lineno}: {told}"
    return f"config file {path}: {error if isinstance(error, ValueError) else told}"


def change(config: Mapping[str, Any], changes: Mapping[str, str | None], fields: Mapping[str, Any]) -> dict[str, Any]:
    """A config with some fields changed, whether or not it lists them.

    Args:
      config: the config of a file.
      changes: path of a field ("run.lam", "arms.reg.lam") -> its value as typed; None for a flag without one.
      fields: what a run may set -> declared type. Values of other keys are read as the ones in the file are.

    Raises:
      ValueError: an arm that the config does not have, or a value that is not of the field's type. Unknown keys are
        left to `expand`.
    """
    changed = dict(config)
    for path, typed in changes.items():
        *sections, field = _split(changed, path)
        holder = changed
        for depth, section in enumerate(sections):
            inner = holder.get(section, {})
            check_keys(f"{'.'.join(sections[: depth + 1])}.", inner, inner if isinstance(inner, Mapping) else ())
            holder[section] = dict(inner)
            holder = holder[section]
        of_run = len(sections) == (2 if sections[:1] and sections[0] in NESTED else 1) and sections[0] != "data"
        kind = fields.get(field) if of_run else None
        holder[field] = _read(path, typed, kind) if kind else _read_like(path, typed, holder.get(field))
    return changed


def _split(config: Mapping[str, Any], path: str) -> tuple[str, ...]:
    """The keys of a path; the name of an arm may have dots."""
    section, _, rest = path.partition(".")
    if section != "arms" or not rest or not isinstance(arms := config.get("arms"), Mapping):
        return tuple(path.split("."))
    named = [arm for arm in map(str, arms) if f"{rest}.".startswith(f"{arm}.")]
    if not named:
        check_keys("arms.", {rest.partition(".")[0]: {}}, tuple(map(str, arms)))
    arm = max(named, key=len)
    return ("arms", arm, *filter(None, [rest[len(arm) + 1 :]]))


def _read(path: str, typed: str | None, kind: Any) -> Any:
    """A value of the declared type `kind`, or several in brackets: which fields may have several is for `expand`."""
    if typed is None:
        return _without_value(path, kind is bool)
    of_tuple = kind not in (bool, int, float, str, float | None)
    if of_tuple or typed[:1] in ("(", "[") or ("," in typed and kind is not str):
        value = _literal(path, typed)
        several = value if isinstance(value, tuple | list) else (value,)
        return tuple(float(each) if kind is float and type(each) is int else each for each in several)
    return _scalar(path, typed, kind)


def _scalar(path: str, typed: str, kind: Any) -> Any:
    if kind is str:
        return typed
    try:
        if kind is bool:
            return BOOLS[typed.lower()]
        if kind is int:
            return int(typed)
        return None if kind is not float and typed.lower() == "none" else float(typed)
    except (KeyError, ValueError):
        wanted = {bool: "true or false", int: "an integer", float: "a number"}.get(kind, "a number or None")
        raise ValueError(f"--config.{path} must be {wanted}, got {typed!r}") from None


def _read_like(path: str, typed: str | None, present: Any) -> Any:
    """A value of the kind that the file has there; any Python literal, or else text, where it has none."""
    if typed is None:
        return _without_value(path, isinstance(present, bool))
    if isinstance(present, str | bool):
        return _scalar(path, typed, type(present))
    try:
        value = ast.literal_eval(typed)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        value = typed
    return (value,) if isinstance(present, tuple | list) and not isinstance(value, tuple | list) else value


def _without_value(path: str, boolean: bool) -> bool:
    if not boolean:
        raise ValueError(f"--config.{path} needs a value: --config.{path}=<value>")
    return True


def _literal(path: str, typed: str) -> Any:
    try:
        return ast.literal_eval(typed)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f'--config.{path}: {typed!r} cannot be read; write several values as "(1, 2)"') from None
