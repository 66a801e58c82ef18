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
from depth_pairs import write_pairs
from face_images import write_faces
from image_training import four_layers_launched
from paths import ROOT
from video_files import features

# What other tests start as a reader does, with their own small data: those files name the program and the config.
ELSEWHERE = {
    ("launch/study.py", "configs/fig3.py"): "study/test_claims.py",
    ("launch/study.py", "configs/diabetes.py"): "launch/test_study.py",
    ("launch/advise.py", "configs/own.py"): "launch/test_advise.py",
    ("launch/prepare.py", "--table"): "launch/test_own_images.py",
    ("launch/train.py", "configs/own_images.py"): "launch/test_own_images.py",
    ("launch/sweep.py", ""): "launch/test_sweep.py",
    ("launch/train.py", "--distributed"): "launch/test_train.py",
}
# Ten and twenty kinds of arms, each a program of its own: minutes of compilation. What they are made of reaches the
# engine in study/test_groups.py and study/test_auxiliary_losses.py; the commands are parsed, their runs are listed.
TOO_LONG = ("configs/tab5.py", "configs/remedies_1d.py")
# Configs whose data sets are prepared from /data.
NEED_DATA = ("imdb_wiki.py", "agedb.py", "nyud2.py")
# Words by which a program says what is missing.
MISSING = ("does not exist", "is not prepared", "no such", "not found", "is no folder", "has no", "holds no")
MISSING += ("needs", "need the")
# Programs that train, or test weights under a config.
CONFIGURED = ("launch/study.py", "launch/train.py", "launch/evaluate.py")
# Folders of results/ that commands report, and the small one that stands for each: report/test_results.py has them all.
RESULTS = {"fig3": "breakfast", "fair": "breakfast", "theory": "breakfast", "tabular": "tabular"}
SMALL_TREES = {"configs", "launch", "benchmarks"}
VIDEOS = tuple(f"P{person:02d}_cam01_P{person:02d}_coffee" for person in (3, 5, 6, 8, 9))


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
    for name, stored in RESULTS.items():
        ignored = shutil.ignore_patterns("report", "*.svg")
        shutil.copytree(ROOT / "results" / stored, project / "results" / name, ignore=ignored)
    shared.mkdir(parents=True)
    write_faces(project / "new_photos", [25, 40, 70], 32)
    write_pairs(project / "other_rooms", 3)
    write_pairs(folder / "rooms", 20)
    _archive(folder / "rooms", shared / "nyu_depth_363pairs.tar")
    write_faces(folder / "faces", [25] * 142 + [40] * 60 + [70] * 12 + [5] * 12, 32)
    _archive(folder / "faces", shared / "utkface64.zip")
    _videos(shared / "breakfast_coffee_5videos.tar.gz")
    _pairs_of_sentences(shared / "sts_b_dir")
    return Sandbox(project)


def small(words):
    """A command with its config's variant `runlocal`."""
    given = words[0] in CONFIGURED
    return [f"{word.split('.py')[0]}.py:runlocal" if given and word.startswith("--config=") else word for word in words]


def is_elsewhere(words):
    """Whether another test runs a command, its config, its kind of data or its work directory."""
    with_config = [*words, *(["--config=configs/own.py"] if words[0] == "launch/advise.py" else [])]
    return any(program == words[0] and any(part in word for word in with_config) for program, part in ELSEWHERE)


def folders(words):
    """The work directories, or runs, that a command speaks of."""
    return [word.partition("=")[2] for word in words if word.startswith(("--workdir=", "--run="))]


def below(words, places):
    """Whether a command speaks of one of these folders, or of one in them."""
    return any(f"{folder}/".startswith(f"{place}/") for folder in folders(words) for place in places)


class Sandbox:
    """Runs commands, each once; `ended_well` are those that did."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.seen: set[tuple[str, ...]] = set()
        self.ended_well: list[list[str]] = []
        # Work directories that are not there: of trainings without data, and of those that other tests run.
        self.lacking: list[str] = []
        self.elsewhere: list[str] = []
        # Programs that were not run on such a folder.
        self.passed_over: set[str] = set()
        cache = {"XDG_CACHE_HOME": str(project.parent / "cache")}
        self.environment = {**four_layers_launched(), **cache}

    def lacks(self, words):
        """Whether a command speaks of data, or of results, that are not there."""
        spoken_of = [word.partition("=")[2] for word in words]
        data = any(value.startswith("/data/") for value in spoken_of)
        return (
            data or any(f"configs/{name}" in word for name in NEED_DATA for word in words) or below(words, self.lacking)
        )

    def run(self, words, page):
        """Runs a command in its small form, unless that has been run; it must end well, or say what is missing."""
        words = small(words)
        key = tuple(word for word in words if not word.startswith("--workdir=") or words[0] not in CONFIGURED)
        if key in self.seen:
            return
        lacks = self.lacks(words)
        if is_elsewhere(words) or (not lacks and any(config in word for config in TOO_LONG for word in words)):
            self.elsewhere += folders(words)
            return
        if below(words, self.elsewhere):
            self.passed_over.add(words[0])
            return
        self.seen.add(key)
        command = [sys.executable, str(ROOT / words[0]), *words[1:]]
        done = subprocess.run(command, cwd=self.project, env=self.environment, capture_output=True, text=True)
        told = f"{page}: python {' '.join(words)}\n{done.stderr[-2000:]}"
        lacks = lacks or "need the package wordllama" in done.stderr  # which not every installation has
        if not lacks:
            assert done.returncode == 0, told
            self.ended_well.append(words)
            return
        assert done.returncode == 1, told
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("error: "), told
        assert any(word in last.lower() for word in MISSING), told
        self.lacking += folders(words)
