"""Flags of paths: ~ is the home folder wherever a path is given, and everything else stays as it is."""

import pytest
from absl import flags

from regcls_jax.path_flags import define_path, define_paths


@pytest.mark.parametrize(
    ("given", "path"),
    [("~/faces", "/home/ada/faces"), ("~", "/home/ada"), ("runs/~x", "runs/~x"), ("/a b/c", "/a b/c"), ("", "")],
)
def test_home_is_expanded(monkeypatch, given, path):
    monkeypatch.setenv("HOME", "/home/ada")
    values = flags.FlagValues()
    folder = define_path("folder", "~/default", "Folder.", flag_values=values)
    folders = define_paths("several", "Folders.", flag_values=values)
    nothing = define_path("nothing", None, "Folder.", flag_values=values)
    values(["program"])
    assert (folder.value, folders.value, nothing.value) == ("/home/ada/default", None, None)
    values(["program", f"--folder={given}", f"--several={given}", "--several", given])
    assert (folder.value, folders.value) == (path, [path, path])


def test_a_required_path_is_asked_for():
    values = flags.FlagValues()
    define_path("out", None, "Folder.", required=True, flag_values=values)
    with pytest.raises(flags.IllegalFlagValueError, match="out"):
        values(["program"])
