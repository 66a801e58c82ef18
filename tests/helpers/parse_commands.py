"""Parses the arguments of commands of one program as it would itself, in a process of its own: flags are global.

python parse_commands.py launch/study.py < [["--config=...", ...], ...]     # prints a list of errors, "" for none
"""

import json
import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def check_config(flag):
    """The config is there with its variant, and takes the changes; with changes it makes runs that make sense."""
    from regcls_jax import config_file

    plain = config_file.load(str(flag.value))
    if "data" in plain:
        from regcls_jax.study.runs import ARM_FIELDS as fields
        from regcls_jax.study.runs import expand
    else:
        from regcls_jax.loop.tasks import every_field, expand

        fields = every_field()
    config = flag.read(fields)
    if flag.changes and plain["data" if "data" in plain else "run"].get("source") != "own":
        expand(config)


def main(program, commands):
    sys.argv = [program]
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
    runpy.run_path(str(ROOT / program))
    from absl import flags

    from regcls_jax.cli import ConfigFlag

    config = flags.FLAGS["config"] if "config" in flags.FLAGS else None
    for arguments in commands:
        for name in flags.FLAGS:
            flags.FLAGS[name].unparse()
        try:
            if isinstance(config, ConfigFlag):
                config.changes.clear()
                arguments = config.take_changes(arguments)
            left = flags.FLAGS([program, *arguments])
            if left[1:]:
                raise ValueError(f"unknown argument {left[1]!r}")
            if isinstance(config, ConfigFlag) and config.value:
                check_config(config)
            yield ""
        except (flags.Error, ValueError, OSError) as error:
            yield str(error)


if __name__ == "__main__":
    os.chdir(ROOT)
    print(json.dumps(list(main(sys.argv[1], json.load(sys.stdin)))))
