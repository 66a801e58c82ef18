"""Whatever a table of images holds, it is read, or refused in one line that names the file."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regcls_jax.data.images.table import SPLITS, read_image_table, split_by_target

FIELDS = st.one_of(
    st.sampled_from(["a.jpg", "b.jpg", "x/c.png", "./a.jpg", "../a.jpg", "/etc/passwd", "C:\\a.jpg", "~", ""]),
    st.sampled_from(["1", "-2.5", "nan", "inf", "1e400", "1,5", "0x10", "2_000", " 3 ", "٣", "1e-50", "True"]),
    st.sampled_from(["train", "val", "test", "Train", '"', "'", "\x00", "\r", "\n", ";", "\t", "\ufeff", "#"]),
    st.text(max_size=6),
)
NAMES = st.sampled_from(["path", "y", "split", "path", "y", "other", " y ", "Path", ""])


@st.composite
def tables(draw):
    header = draw(st.lists(NAMES, max_size=5) | st.just(["path", "y"]) | st.just(["path", "y", "split"]))
    rows = draw(st.lists(st.lists(FIELDS, max_size=5), max_size=8))
    text = draw(st.sampled_from(["\n", "\r\n", "\r"])).join(",".join(row) for row in [header, *rows])
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])), "surrogatepass")
    if draw(st.booleans()) and content:
        place = draw(st.integers(0, len(content) - 1))
        content = content[:place] + draw(st.binary(max_size=3)) + content[place + draw(st.integers(0, 2)) :]
    return content


def check(path):
    message = ""
    try:
        table = read_image_table(path, "y")
        if table.splits is None:
            table = split_by_target(table, path, 0)
    except (OSError, ValueError) as error:
        message = str(error)
    if message:
        assert str(path) in message
        assert len(message) < 2000
        return
    assert np.isfinite(table.targets).all()
    assert table.targets.dtype == np.float32
    names = table.paths.tolist()
    assert len(names) == len(set(names)) == len(table.targets) == len(table.splits) > 0
    assert not any(name.startswith("/") or ".." in name.split("/") for name in names)
    assert {*table.splits} == {*SPLITS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@settings(max_examples=400, deadline=None, derandomize=True)
@given(tables())
def test_any_table_is_read_or_refused(folder, content):
    path = folder / "table.csv"
    path.write_bytes(content)
    check(path)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_a_damaged_gzip_is_refused(folder, data):
    lines = "".join(f"image{row}.jpg,{row}\n" for row in range(30))
    content = bytearray(gzip.compress(f"path,y\n{lines}".encode(), mtime=0))
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    path = folder / "table.csv.gz"
    path.write_bytes(content)
    check(path)
