"""What the programs under launch/ share: flags, the config among them; errors and signals as one clear line."""

import os
import re
import runpy
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from absl import app, flags, logging

from regcls_jax import shipped
from regcls_jax.devices import PLATFORMS

# Flags defined here belong to the program that imports this, which shows them in its --help.
flags.disclaim_key_flags()

# Default folder of generated data sets.
CACHE_DIR = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "regcls_jax")
# Where launch/prepare.py puts image data sets, and launch/train.py looks for them.
PREPARED_DIR = os.path.join(CACHE_DIR, "tfds")

DEBUG = flags.DEFINE_bool("debug", False, "Show where in the code an error comes from.")
# --config.run.lam=2, --config.run.lam 2, --config.run.lds, --noconfig.run.lds
CHANGE = re.compile(r"--?(?P<no>no)?config\.(?P<path>[^=]+)(=(?P<typed>.*))?", re.DOTALL)
INTERRUPTED = "interrupted; run the same command again to continue"


class ChangesFlag(flags.Flag):
    """A flag --config, and --config.<section>.<field>, which sets any field of it: `changes`, as typed."""

    def __init__(self, help_text: str, default: str | None) -> None:
        super().__init__(
            flags.ArgumentParser(),
            flags.ArgumentSerializer(),
            "config",
            default,
            f"{help_text} --config.run.<field>=<value> and --config.arms.<arm>.<field>=<value> set fields of it.",
        )
        self.changes: dict[str, str | None] = {}

    def take_changes(self, argv: Sequence[str]) -> list[str]:
        """Notes the arguments that set a field of the config; returns the others. Raises flags.Error for one twice."""
        left, rest = [], list(argv)
        while rest and rest[0] != "--":
            argument = rest.pop(0)
            if not (match := CHANGE.fullmatch(argument)):
                left.append(argument)
                continue
            typed = "false" if match["no"] else match["typed"]
            if typed is None and rest and not re.match(r"-[^\d.]", rest[0]):  # "-1" is a value
                typed = rest.pop(0)
            if match["path"] in self.changes:
                raise flags.Error(f"--config.{match['path']} is given twice; several values are written (1, 2)")
            self.changes[match["path"]] = typed
        return left + rest


class ConfigFlag(ChangesFlag):
    """The flag --config, a file, whose fields can be set."""

    def read(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The config as the file and the command line have it, as plain dictionaries.

        Args:
          fields: what a run may set -> declared type.

        Raises:
          ValueError: see `config_file.load` and `config_file.change`.
        """
        from regcls_jax import config_file  # not needed by --help

        return config_file.change(config_file.load(str(self.value)), self.changes, fields)


class ConfigsFlag(ChangesFlag, flags.MultiFlag):
    """As `ConfigFlag`, of a list of files that grows every time the flag is given; fields are set in all of them."""


def define_config(help_text: str, default: str | None = None) -> ConfigFlag:
    """Defines --config and --config.<section>.<field>."""
    flag = ConfigFlag(help_text, default)
    flags.DEFINE_flag(flag)
    return flag


def define_configs(help_text: str) -> ConfigsFlag:
    """As `define_config`, of several configs."""
    flag = ConfigsFlag(help_text, None)
    flags.DEFINE_flag(flag)
    return flag


def unusable(faults: Mapping[str, str], samples: str) -> str:
    """A line on what cannot be used, by name and reason; empty where there is nothing."""
    named = ", ".join(f"{name} ({fault})" for name, fault in faults.items())
    return f"{len(faults)} {samples} cannot be used: {named}" if faults else ""


def define_platform() -> flags.FlagHolder[str]:
    """Defines --platform, for `devices.start`."""
    return flags.DEFINE_enum("platform", "any", PLATFORMS, "What to run on; anything else is refused.")


def run(main: Callable[[], None]) -> None:
    """Parses the flags and calls `main`; a wrong flag, config, file or folder ends the program with one line.

    Only ValueError and OSError count as user errors; any other exception is a bug and keeps its traceback, as all do
    with --debug. SIGINT and SIGTERM, too, end with one line, and with exit code 130 or 143.
    """
    received: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt(number)

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1:
            sys.exit(f"error: unknown argument {argv[1]!r}; try --help")
        if not flags.FLAGS["verbosity"].present and not DEBUG.value:
            logging.set_verbosity(logging.FATAL)  # Orbax logs a lot, and every error that it raises with its traceback
        try:
            main()
        except (OSError, ValueError) as error:
            if DEBUG.value or received:
                raise
            sys.exit(f"error: {' '.join(str(error).split())}")

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        app.run(guarded, flags_parser=_parse)
    except KeyboardInterrupt as stopped:
        number = stopped.args[0] if stopped.args else signal.SIGINT
    except Exception:
        # Imports turn an interrupt that comes while they run into errors of their own.
        if not received or DEBUG.value:
            raise
        number = received[0]
    print(INTERRUPTED, file=sys.stderr)
    sys.exit(128 + number)


def console() -> None:
    """What an installed command runs: launch/<program>.py as a program, whose name the command has."""
    program = Path(sys.argv[0]).stem.removeprefix(shipped.COMMAND)
    runpy.run_path(str(shipped.folder("launch") / f"{program}.py"), run_name="__main__")


def command() -> str:
    """The command line of this program, to be noted beside what it makes."""
    program = Path(sys.argv[0])
    name = f"{shipped.COMMAND}{program.stem}" if program.is_relative_to(shipped.PACKAGE) else f"python {program}"
    return " ".join([name, *sys.argv[1:]])


def _parse(argv: Sequence[str]) -> list[str]:
    config = flags.FLAGS["config"] if "config" in flags.FLAGS else None
    try:
        argv = flags.FLAGS.read_flags_from_files(argv, force_gnu=False)
        if not isinstance(config, ChangesFlag):
            return flags.FLAGS(argv)
        left = flags.FLAGS(config.take_changes(argv))
        if config.changes and config.value is None:
            raise flags.Error("--config.<section>.<field> needs --config, the file whose field it sets")
        return left
    except (flags.Error, ValueError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}; try --help")
