"""The HTML page: the verdict first, every table and figure, nothing loaded from elsewhere, no name of a user's run."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest
from fig3_study import study, write_study
from paths import LAUNCH

from regcls_jax.report.build import build
from regcls_jax.report.page import page
from regcls_jax.report.tables import Slider, Table

VOID = {"meta", "img", "br", "hr", "link"}


class Reader(HTMLParser):
    """Collects text, sources and links, and checks that every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.sources, self.links, self.ids = [], [], [], [], []
        self.scripts, self.alts, self.scopes = 0, [], []
        self.feed(text)
        assert self.scripts == 1
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        self.sources += [attributes[name] for name in ("src", "srcset", "data") if name in attributes]
        self.links += [attributes["href"]] if "href" in attributes else []
        self.ids += [attributes["id"]] if "id" in attributes else []
        # The one script is the page's own, inline, and last.
        assert tag not in ("iframe", "object", "link")
        self.scripts += tag == "script"
        assert tag != "script" or attributes == {}
        self.alts += [attributes["alt"]] if tag == "img" else []
        self.scopes += [attributes["scope"]] if tag == "th" else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_a_page_of_two_studies(tmp_path):
    rows = study(("clean",), ("mild", "severe"))
    folders = [write_study(tmp_path / name, rows) for name in ("one", "two")]
    made = [(str(folder), build(folder)) for folder in folders]
    text = page(made)
    reader = Reader(text)
    # Three figures each, inside the page; links lead to what is there.
    assert len(reader.sources) == 6
    assert all(source.startswith("data:image/svg+xml;base64,") for source in reader.sources)
    assert set(reader.links) == {f"#{name}" for name in reader.ids}
    assert len(set(reader.ids)) == len(reader.ids)
    assert all("test MSE" in alt for alt in reader.alts)
    assert set(reader.scopes) == {"col", "row"}
    assert "url(" not in text
    assert "@import" not in text
    words = " ".join(reader.words)
    for folder in folders:
        assert str(folder) in words
        assert words.count(folder.name) >= 3  # overview, navigation, heading
    assert words.count("study --x") >= 2  # the command
    for table in made[0][1].tables:
        assert words.count(table.title) >= 2 * 3  # contents, heading, caption
        cells = re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", text)
        assert set(table.frame.iloc[0].astype(str)) <= set(cells)
    assert text == page(made), "equal reports give equal pages"


def test_the_verdict_comes_first(tmp_path):
    folder = write_study(tmp_path / "run", study(("clean",), ("mild", "severe")))
    report = build(folder)
    words = " ".join(Reader(page([(str(folder), report)])).words)
    headline = "reg+cls beats reg and reg×λ (the same λ without classes) on imbalanced data (clean)."
    assert headline in report.verdict
    # On its card and above its tables, before anything else of the study.
    assert words.index(headline) < words.index("Made by")
    assert words.count(headline) == 2


def test_a_slider_is_for_the_columns_that_a_table_has(tmp_path):
    report = build(write_study(tmp_path / "run", study(("clean",), ("mild",))), figures=False)
    frame = pd.DataFrame({"arm": ["reg"], "1 runs": ["a"], "2 runs": ["b"], "constant": ["c"]})
    table = Table("Over the budget", "", frame, None, Slider("budget", ("1 runs", "2 runs")))
    text = page([("run", report._replace(tables=[table]))])
    assert text.count('data-slider="budget"') == 1
    steps = re.findall(r'<t[hd][^>]* data-step="(\d)">([^<]*)<', text)
    assert steps == [("0", "1 runs"), ("1", "2 runs"), ("0", "a"), ("1", "b")]


def test_names_are_text_not_html(tmp_path):
    folder = write_study(tmp_path / "run", study(("clean",), ("mild",)))
    report = build(folder)._replace(name="<b>mine</b>", remarks="<img src=x onerror=y> of `arm`")
    text = page([("<script>folder</script>", report)])
    for tag in ("<script>folder", "<b>mine", "<img src=x"):
        assert tag not in text
    assert "<code>arm</code>" in text


def test_a_study_without_meta_has_dashes(tmp_path):
    folder = write_study(tmp_path / "run", study(("clean",), ("mild",)))
    (folder / "meta.json").unlink()
    text = page([("run", build(folder))])
    assert "–" in text
    Reader(text)


def test_no_study_is_an_error():
    with pytest.raises(ValueError, match="at least one study"):
        page([])


def test_launcher(tmp_path):
    launcher = LAUNCH / "report.py"
    folders = [write_study(tmp_path / name, study(("clean",), ("mild",))) for name in ("one", "two")]
    flags = [f"--workdir={folder}" for folder in folders]
    html = tmp_path / "page.html"
    done = subprocess.run([sys.executable, launcher, *flags, f"--html={html}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith(f"Page: {html}")
    assert len(Reader(html.read_text()).sources) == 6
    wrong = subprocess.run([sys.executable, launcher, *flags, "--export=x"], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr == "error: --export is the folder of one study, but 2 workdirs are given\n"
