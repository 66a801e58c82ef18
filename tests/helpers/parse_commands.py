"""Parses the arguments of commands as their programs would, in a process of its own: flags are global.

python parse_commands.py < {"launch/study.py": [["--config=...", ...], ...], ...}     # errors alike, "" for none
"""

import json
import os
import runpy
import sys
from pathlib import Path

from absl import flags

from regcls_jax import cli, config_file

ROOT = Path(__file__).parents[2]


def check_config(flag):
    """The config is there with its variant, and takes the changes; with changes it makes runs that make sense."""
    plain = config_file.load(str(flag.value))
    if "data" in plain:
        from regcls_jax.study.runs import ARM_FIELDS as fields
        from regcls_jax.study.runs import expand
    else:
        from regcls_jax.loop.tasks import every_field, expand

        fields = every_field()
    config = flag.read(fields)
    if flag.changes:
        expand(config)


def error_of(program, arguments):
    """What is wrong with a command of the program whose flags are defined."""
    config = flags.FLAGS["config"] if "config" in flags.FLAGS else None
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    try:
        if isinstance(config, cli.ConfigFlag):
            config.changes.clear()
            arguments = config.take_changes(arguments)
        if left := flags.FLAGS([program, *arguments])[1:]:
            raise ValueError(f"unknown argument {left[0]!r}")
        if isinstance(config, cli.ConfigFlag) and config.value:
            check_config(config)
    except (flags.Error, ValueError, OSError) as error:
        return str(error)
    return ""


def main(commands):
    """The errors of all commands; each program's flags are forgotten before the next one's."""
    shared, found = set(flags.FLAGS), {}
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
    for program, given in commands.items():
        sys.argv = [program]
        runpy.run_path(str(ROOT / program))
        found[program] = [error_of(program, arguments) for arguments in given]
        for name in set(flags.FLAGS) - shared:
            delattr(flags.FLAGS, name)
        # Benchmarks take flags from each other: the next one has to import them anew.
        for name, module in [*sys.modules.items()]:
            if (getattr(module, "__file__", None) or "").startswith(str(ROOT / "benchmarks")):
                del sys.modules[name]
    return found


if __name__ == "__main__":
    os.chdir(ROOT)
    print(json.dumps(main(json.load(sys.stdin))))
