"""Scalars as JSON lines and for TensorBoard."""

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from regcls_jax.loop.writer import MetricsWriter
from regcls_jax.store.files import from_json


def steps_in(folder):
    return [from_json(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def write(folder, start, steps):
    writer = MetricsWriter(folder, start)
    for step in steps:
        writer.write(step, {"loss": 1 / step, "epoch": step})
    writer.close()


def test_one_line_per_write(tmp_path):
    write(tmp_path, 0, [1, 3])
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [from_json(line) for line in lines] == [
        {"step": 1, "loss": 1.0, "epoch": 1},
        {"step": 3, "loss": 1 / 3, "epoch": 3},
    ]


def test_a_line_is_on_disk_at_once(tmp_path):
    writer = MetricsWriter(tmp_path, 0)
    writer.write(1, {"loss": 2.0})
    assert from_json((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "loss": 2.0}
    writer.close()


@pytest.mark.parametrize("unfinished", ["", '{"step": 3, "lo', "{"])
def test_continuing_drops_what_comes_again(tmp_path, unfinished):
    write(tmp_path, 0, [1, 2, 3, 4])
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(unfinished)
    write(tmp_path, 2, [3, 5])
    assert steps_in(tmp_path) == [1, 2, 3, 5]
    write(tmp_path, 0, [])
    assert steps_in(tmp_path) == []


def test_tensorboard_gets_the_same_points(tmp_path):
    write(tmp_path, 0, [1, 2])
    (events,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    points = read_events(events)
    assert points == [
        ("loss", 1, 1.0),
        ("epoch", 1, 1.0),
        ("loss", 2, 0.5),
        ("epoch", 2, 2.0),
    ]


def read_events(path):
    """(tag, step, value) of a file of length-prefixed records: length 8, checksum 4, record, checksum 4 bytes."""
    data, found = path.read_bytes(), []
    while data:
        length = int(np.frombuffer(data[:8], np.uint64)[0])
        event = Event.FromString(data[12 : 12 + length])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        data = data[16 + length :]
    return found
