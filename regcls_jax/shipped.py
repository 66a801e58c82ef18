"""Folders of programs and configs that come with the package: beside it in a checkout, inside of it once installed."""

from pathlib import Path

PACKAGE = Path(__file__).parent
# What the commands of an installed package are called: regcls-study is launch/study.py.
COMMAND = "regcls-"


def folder(name: str) -> Path:
    """The folder "configs" or "launch"."""
    return inside if (inside := PACKAGE / name).is_dir() else PACKAGE.parent / name


def typed(program: str) -> str:
    """What a user types to start launch/<program>.py."""
    return f"{COMMAND}{program}" if folder("launch").is_relative_to(PACKAGE) else f"python launch/{program}.py"
