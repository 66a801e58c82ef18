"""What the documents tell a reader to type: the fenced blocks of README and docs/, and every command anywhere."""

import re
import shlex
from pathlib import Path

from paths import ROOT

# A symbolic link to the notebooks lies in docs/, which rglob does not follow.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Where commands are named, too: recipes in docstrings, notebooks, what was run.
PLACES = [
    *PAGES,
    *(ROOT / name / "README.md" for name in ("results", "benchmarks")),
    *(path for name in ("configs", "launch", "benchmarks") for path in sorted((ROOT / name).glob("*.py"))),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
]
NAMED = re.compile(r"python ((?:launch|benchmarks)/\w+\.py [^`#|;&)\"\n]*)")


def blocks(path, language):
    """The fenced blocks of a page in one language, in order, without what they are indented by."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    return [re.sub(rf"^{indent}", "", text, flags=re.M) for indent, text in found]


def typed(path):
    """The commands of a page's bash blocks, in order, each as a list of words; comments are left out."""
    for block in blocks(path, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for command in line.split(" && "):
                if words := shlex.split(command, comments=True):
                    yield words


def named(path):
    """The commands ["launch/study.py", "--config=...", ...] that a file names anywhere, as far as they are literal.

    Optional flags are without their brackets; of what may be chosen (std|paper) the first is left.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = text.replace("\\n", "\n")
    if path.suffix == ".md":
        # A command in a sentence may go on in its next line.
        text = re.sub(r"`[^`\n]+\n[^`\n]+`", lambda found: re.sub(r"\s+", " ", found[0]), text)
    text = re.sub(r"<[^>\n]*>", "FOLDER", text)
    for found in NAMED.finditer(text):
        words = re.split(r"\s{2,}(?!-)", found[1])[0].replace("[", "").replace("]", "").split()
        program, *flags = words
        flags = [flag.rstrip(".,:") for flag in flags]
        if flags and all(flag.startswith("--") for flag in flags) and not any("..." in flag for flag in flags):
            yield [program, *flags]


def relative(path):
    """For messages."""
    return Path(path).relative_to(ROOT).as_posix()
