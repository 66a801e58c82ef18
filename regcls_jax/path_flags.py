"""Flags of files and folders in which ~ is the home folder: a shell leaves it as it is after `--flag=`."""

import os
from typing import Any

from absl import flags

# Or else --help, which shows the flags of the program, would take these for flags of this module.
flags.disclaim_key_flags()


class _PathParser(flags.ArgumentParser[str]):
    def parse(self, argument: str) -> str:
        return os.path.expanduser(argument)

    def flag_type(self) -> str:
        return "path"


def define_path(name: str, default: str | None, help_text: str, **options: Any) -> flags.FlagHolder:
    """A flag of one path, as `flags.DEFINE_string` defines one of text; `options` are those of `flags.DEFINE`."""
    return flags.DEFINE(_PathParser(), name, default, help_text, **options)


def define_paths(name: str, help_text: str, **options: Any) -> flags.FlagHolder:
    """As `define_path`, of a list that grows every time the flag is given."""
    return flags.DEFINE_multi(_PathParser(), flags.ArgumentSerializer(), name, None, help_text, **options)
