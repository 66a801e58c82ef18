"""docs/recipes.md against what cites it: every reference resolves, every section is cited. And links lead to files."""

import re
from pathlib import Path

from documents import PAGES, relative
from paths import ROOT

RECIPES = ROOT / "docs" / "recipes.md"
FOLDERS = ("regcls_jax", "configs", "launch", "benchmarks", "tests", "notebooks")
SUFFIXES = (".py", ".ipynb", ".csv", ".md")

AND = r"(?:, and |, | and | to )"
SECTION = r"\d+\.\d+(?:-\d+)?"
# "recipes 4.3-3, 5.1", "recipe 5.1", "Recipes 2.1 to 2.4", "recipes 4.1, items 1, 2 and 4"
REFERENCE = re.compile(
    rf"\brecipes?(?:\.md)? ({SECTION}(?:{AND}{SECTION})*)(?:, items? (\d+(?:{AND}\d+)*))?", re.IGNORECASE
)


def headings_and_items(markdown):
    """{"4.1", "4.1-1", ...}: the numbered sections, and the numbered items at the left margin of each."""
    found, section = set(), None
    for line in markdown.splitlines():
        if line.startswith("#"):
            match = re.match(r"## (\d+\.\d+) ", line)
            section = match and match[1]
            found |= {section} if section else set()
        elif section and (match := re.match(r"(\d+)\. ", line)):
            found.add(f"{section}-{match[1]}")
    return found


def references(text):
    """What `text` cites, in the same form; a reference may go on in the next line of a docstring or comment."""
    for match in REFERENCE.finditer(re.sub(r"\s*\n[ \t#]*", " ", text)):
        sections = re.findall(SECTION, match[1])
        yield from sections
        yield from (f"{sections[-1]}-{item}" for item in re.findall(r"\d+", match[2] or ""))


def cited():
    """(file, reference) of everything that cites the recipes; this file has examples only."""
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SUFFIXES]
    for path in [*files, *PAGES]:
        if path not in (Path(__file__), RECIPES):
            for reference in references(path.read_text(encoding="utf-8")):
                yield path.relative_to(ROOT).as_posix(), reference


def test_references_are_found_in_every_form():
    text = """(recipes 4.3-3, 5.1) recipe 2.4, Recipes 2.1 to 2.3 and 5.2. recipes.md 4.1, items 1, 2 and 4) and 7
    # recipes
    # 4.5, first table"""
    expected = "4.3-3 5.1 2.4 2.1 2.3 5.2 4.1 4.1-1 4.1-2 4.1-4 4.5"
    assert list(references(text)) == expected.split()


def test_every_reference_resolves():
    known = headings_and_items(RECIPES.read_text(encoding="utf-8"))
    assert [(file, reference) for file, reference in cited() if reference not in known] == []


def test_references_inside_the_document_resolve():
    text = RECIPES.read_text(encoding="utf-8")
    assert set(re.findall(r"\b\d+\.\d+-\d+\b", text)) <= headings_and_items(text)


def test_every_section_is_cited():
    sections = {name for name in headings_and_items(RECIPES.read_text(encoding="utf-8")) if "-" not in name}
    assert sections - {reference.split("-")[0] for _, reference in cited()} == set()


def test_links_lead_to_files():
    """Those within a page and to its headings are checked where the site is built, tests/test_site.py."""
    for path in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{relative(path)}: {target}"
