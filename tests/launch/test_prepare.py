"""launch/prepare.py as a user meets it."""

import subprocess
import sys

from face_images import write_faces
from paths import LAUNCH

PROGRAM = LAUNCH / "prepare.py"


def launch(*arguments):
    return subprocess.run([sys.executable, PROGRAM, *map(str, arguments)], capture_output=True, text=True)


def test_prepares_once_and_says_what_is_in_it(tmp_path):
    names = write_faces(tmp_path / "faces", [25] * 150 + [30] * 60 + [70] * 5, 16)
    (tmp_path / "faces" / names[3]).write_bytes(b"")
    arguments = ["--dataset=utkface", f"--manual_dir={tmp_path}/faces", f"--data_dir={tmp_path}/data"]
    done = launch(*arguments)
    assert done.returncode == 0, done.stderr
    assert "Checking" in done.stderr, "a progress bar"
    folder = f"{tmp_path}/data/utkface/balanced/1.0.0"
    # 149, 60 and 5 images of an age: 20, 20 and 1 of them in val and in test.
    text = f"""utkface: 214 images: 132 train, 41 val, 41 test
ages 25 to 70 years, 3 different; training median 25
many-shot: 1 ages, 109 training images
medium-shot: 1 ages, 20 training images
few-shot: 1 ages, 3 training images
skipped: {names[3]} (corrupt: is no image)
byte-identical duplicates dropped: 0 of the same age, 0 of another age
"""
    assert done.stdout.endswith(f"Prepared: {folder}\n{text}")
    again = launch(*arguments)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == f"Prepared before: {folder}\n{text}"


def test_a_mistake_is_one_line(tmp_path):
    done = launch("--dataset=utkface", f"--manual_dir={tmp_path}/none", f"--data_dir={tmp_path}/data")
    assert done.returncode == 1
    assert done.stderr == f"error: there is no folder {tmp_path}/none\n"
    assert not (tmp_path / "data").exists()
