"""A folder in which the commands of the documents can be run: configs, results, and small data under the names that the
documents use. What they speak of and nobody has lies under /data there: such commands must end with one line.
"""

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from depth_pairs import write_pairs
from face_images import write_faces
from image_training import four_layers_launched
from own_images import write_houses
from paths import ROOT
from video_files import features

# Configs whose data sets are prepared from /data.
NEED_DATA = ("imdb_wiki.py", "agedb.py", "nyud2.py")
# Words by which a program says what is missing.
MISSING = ("does not exist", "is not prepared", "no such", "not found", "is no folder", "has no", "needs", "need the")
# Programs that train, or test weights under a config.
CONFIGURED = ("launch/study.py", "launch/train.py", "launch/advise.py", "launch/evaluate.py")
RESULTS = ("fig3", "fair", "theory")
SMALL_TREES = {"configs", "launch", "benchmarks"}
VIDEOS = tuple(f"P{person:02d}_cam01_P{person:02d}_coffee" for person in (3, 4, 16, 17, 30))


def _tables(folder):
    """Tables of 80 rows whose target follows from the first column."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, 3))
    y = np.exp(x[:, 0]).round(3)
    frame = pd.DataFrame(x, columns=[*"abc"]).assign(kind=generator.choice([*"xyz"], 80))
    frame.assign(price=y).to_csv(folder / "table.csv", index=False)
    np.savez(folder / "features.npz", x=x, y=y)
    visits = frame.assign(cost=y, days=(10 * y).round(), patient=np.arange(80) % 20, id=np.arange(80))
    visits.to_csv(folder / "visits.csv", index=False)
    (shared := folder.parent / "shared" / "data" / "tabular").mkdir(parents=True)
    frame.assign(Rings=y).to_csv(shared / "Abalone.csv", index=False)


def _pairs_of_sentences(folder):
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in ("train_new.tsv", "dev_new.tsv", "test_new.tsv"):
        rows = [f"a man eats\ta man sleeps {number}\t{generator.uniform(0, 5):.2f}" for number in range(60)]
        (folder / name).write_text("\n".join(["sentence1\tsentence2\tscore", *rows]) + "\n")


def _archive(folder, path):
    """All files of a folder in one archive, a zip or a tar."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.write(file, file.relative_to(folder))
        return
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for file in files:
            archive.add(file, file.relative_to(folder))


def _videos(path):
    with tarfile.open(path, "w:gz") as archive:
        for place, name in enumerate(VIDEOS):
            buffer = io.BytesIO()
            np.savetxt(buffer, features(name, 60 + 20 * place), fmt="%.5g")
            entry = tarfile.TarInfo(f"{name}.txt")
            entry.size = buffer.tell()
            buffer.seek(0)
            archive.addfile(entry, buffer)


def make(folder):
    """The sandbox in an empty folder."""
    project, shared = folder / "project", folder / "shared" / "data"
    project.mkdir()
    for name in SMALL_TREES:
        (project / name).symlink_to(ROOT / name)
    for name in RESULTS:
        ignored = shutil.ignore_patterns("report", "*.svg")
        shutil.copytree(ROOT / "results" / name, project / "results" / name, ignore=ignored)
    _tables(project)
    write_houses(project, 160)
    houses = pd.read_csv(project / "houses.csv").rename(columns={"photo": "path"})
    houses.to_csv(project / "houses.csv", index=False)
    shutil.copytree(project / "photos" / "street", project / "new_photos")
    for photo in sorted((project / "new_photos").iterdir())[4:]:
        photo.unlink()
    write_pairs(project / "other_rooms", 3)
    write_pairs(folder / "rooms", 20)
    _archive(folder / "rooms", shared / "nyu_depth_363pairs.tar")
    write_faces(folder / "faces", [25] * 142 + [40] * 60 + [70] * 12 + [5] * 12, 32)
    _archive(folder / "faces", shared / "utkface64.zip")
    _videos(shared / "breakfast_coffee_5videos.tar.gz")
    _pairs_of_sentences(shared / "sts_b_dir")
    return Sandbox(project)


def small(words):
    """A command with its config's variant `runlocal`; launch/advise.py gets one where it has none."""
    changed = []
    for word in words:
        if words[0] in CONFIGURED and word.startswith("--config="):
            word = f"{word.split('.py')[0]}.py:runlocal"
        changed.append(word)
    if words[0] == "launch/advise.py" and not any(word.startswith("--config=") for word in words):
        changed.append("--config=configs/own.py:runlocal")
    return changed


class Sandbox:
    """Runs commands, each once; `ended_well` are those that did."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.seen: set[tuple[str, ...]] = set()
        self.ended_well: list[list[str]] = []
        # Folders whose training had no data.
        self.lacking: list[str] = []
        cache = {"XDG_CACHE_HOME": str(project.parent / "cache")}
        self.environment = {**four_layers_launched(), **cache}

    def lacks(self, words):
        """Whether a command speaks of data, or of results, that are not there."""
        values = [word.partition("=")[2] for word in words if "=" in word]
        if any(value.startswith("/data/") for value in values):
            return True
        if any(f"configs/{name}" in value for name in NEED_DATA for value in values):
            return True
        return any(value == folder or value.startswith(f"{folder}/") for value in values for folder in self.lacking)

    def run(self, words, page):
        """Runs a command in its small form, unless that has been run; it must end well, or say what is missing."""
        words = small(words)
        if tuple(words) in self.seen:
            return
        self.seen.add(tuple(words))
        lacks = self.lacks(words)
        command = [sys.executable, str(ROOT / words[0]), *words[1:]]
        done = subprocess.run(command, cwd=self.project, env=self.environment, capture_output=True, text=True)
        told = f"{page}: python {' '.join(words)}\n{done.stderr[-2000:]}"
        if needs_wordllama(done.stderr):
            lacks = True
        if not lacks:
            assert done.returncode == 0, told
            self.ended_well.append(words)
            return
        assert done.returncode == 1, told
        assert done.stderr.startswith("error: "), told
        assert done.stderr.count("\n") == 1, told
        assert any(word in done.stderr for word in MISSING), told
        self.lacking += [word.partition("=")[2] for word in words if word.startswith(("--workdir=", "--run="))]


def needs_wordllama(errors):
    """Sentences need a package that not every installation has."""
    return "need the package wordllama" in errors
