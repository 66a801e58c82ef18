"""What is noted beside the rows: one file per process, added up; a single one as it is."""

import json

import pytest

from regcls_jax.store.files import from_json
from regcls_jax.store.meta import VERSIONS, note_time, read_meta


def test_times_of_several_processes_are_added_up(tmp_path):
    assert read_meta(tmp_path) == {}
    assert note_time(tmp_path, "one", "study", 4, 10, 2.0) == pytest.approx(300)
    note_time(tmp_path, "one", "study", 16, 6, 3.0)
    alone = read_meta(tmp_path)
    assert alone == from_json((tmp_path / "meta" / "one.json").read_text())
    assert set(alone["versions"]) == set(VERSIONS)
    note_time(tmp_path, "two", "study --devices=1", 4, 5, 1.5)
    note_time(tmp_path, "one", "study", 4, 1, 0.25)
    together = read_meta(tmp_path)
    assert together["times"] == {"4": {"trainings": 16, "seconds": 3.75}, "16": {"trainings": 6, "seconds": 3.0}}
    assert (together["trainings"], together["seconds"]) == (22, 6.75)
    assert together["command"] == "study; study --devices=1"
    assert (together["machine"], together["versions"]) == (alone["machine"], alone["versions"])


def test_a_study_begun_by_an_older_version_keeps_its_times(tmp_path):
    note_time(tmp_path, "old", "study", 4, 10, 2.0)
    (tmp_path / "meta" / "old.json").rename(tmp_path / "meta.json")
    old = from_json((tmp_path / "meta.json").read_text())
    assert read_meta(tmp_path) == old
    versions = {**old["versions"], "jax": "0"}
    (tmp_path / "meta.json").write_text(json.dumps({**old, "versions": versions}))
    note_time(tmp_path, "new", "study", 4, 1, 1.0)
    assert read_meta(tmp_path)["versions"] == [versions, old["versions"]]
    assert read_meta(tmp_path)["trainings"] == 11
