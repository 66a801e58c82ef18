"""What the programs under launch/ share: parsing absl flags, and reporting user errors in one clear line."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import app, flags, logging

# Default folder of generated data sets.
CACHE_DIR = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "regcls_jax")
# Where launch/prepare.py puts image data sets, and launch/train.py looks for them.
PREPARED_DIR = os.path.join(CACHE_DIR, "tfds")


def run(main: Callable[[], None]) -> None:
    """Parses the flags and calls `main`; a wrong flag, config, file or folder ends the program with one line.

    Only ValueError and OSError count as user errors; any other exception is a bug and keeps its traceback.
    """

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1:
            sys.exit(f"error: unknown argument {argv[1]!r}; try --help")
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.ERROR)  # Orbax logs a lot below this level
        try:
            main()
        except KeyboardInterrupt:
            sys.exit("interrupted; run the same command again to continue")
        except (OSError, ValueError) as error:
            sys.exit(f"error: {' '.join(str(error).split())}")

    # A config may start from another one: `from configs import fig3`.
    sys.path.append(str(Path(sys.argv[0]).resolve().parent.parent))
    app.run(guarded, flags_parser=_parse)


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        # ml_collections quotes the whole traceback of a failing config; its last line is what went wrong.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        sys.exit(f"error: {re.sub(r'^[A-Za-z]+Error: ', '', lines[-1])}; try --help")
    except ValueError as error:
        sys.exit(f"error: {error}")
    except (AttributeError, KeyError) as error:
        sys.exit(f"error: unknown config key {str(error).strip(chr(34))}; the file given by --config lists the keys")
