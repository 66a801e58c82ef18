"""Folders of programs and configs that come with the package: beside it in a checkout, inside of it once installed."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def folder(name: str) -> Path:
    """The folder "configs" or "launch"."""
    return inside if (inside := PACKAGE / name).is_dir() else PACKAGE.parent / name
