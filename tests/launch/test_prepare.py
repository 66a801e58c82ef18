"""launch/prepare.py as a user meets it."""

import subprocess
import sys

from depth_pairs import write_pairs
from face_images import write_faces
from own_images import write_houses
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
age 25 to 70 years, 3 different; training median 25
many-shot: 1 ages, 109 training images
medium-shot: 1 ages, 20 training images
few-shot: 1 ages, 3 training images
skipped: {names[3]} (corrupt: is no image)
byte-identical duplicates dropped: 0 of the same age, 0 of another
rotated by EXIF data: 0 images; they are read as stored, as torchvision reads them
"""
    assert done.stdout == f"Prepared: {folder}\n{text}"
    again = launch(*arguments)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == f"Prepared before: {folder}\n{text}"
    assert launch(arguments[0], arguments[2]).stdout == again.stdout
    (tmp_path / "faces" / names[4]).unlink()
    changed = launch(*arguments)
    assert (changed.returncode, changed.stdout) == (1, "")
    assert changed.stderr.startswith(
        f"error: {tmp_path}/faces holds other data than utkface was prepared from; give --"
    )
    anew = launch(*arguments, "--overwrite")
    assert anew.stdout.startswith(f"Prepared: {folder}\nutkface: 213 images: ")


def test_a_mistake_is_one_line(tmp_path):
    done = launch("--dataset=utkface", f"--manual_dir={tmp_path}/none", f"--data_dir={tmp_path}/data")
    assert done.returncode == 1
    assert done.stderr == f"error: there is no folder {tmp_path}/none\n"
    assert not (tmp_path / "data").exists()


def test_a_table_of_ones_own(tmp_path):
    write_houses(tmp_path, 60)
    arguments = [f"--table={tmp_path}/houses.csv", f"--images={tmp_path}/photos", "--target=price", "--name=houses"]
    arguments += ["--unit=kEUR", "--path_column=photo", f"--data_dir={tmp_path}/data"]
    done = launch(*arguments)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"Prepared: {tmp_path}/data/own_images/houses/1.0.0"
    assert lines[1] == "houses: 60 images: 50 train, 5 val, 5 test"
    assert lines[2].startswith("price -50 to ")
    assert " kEUR, " in lines[2]
    again = launch(*arguments)
    assert again.stdout.splitlines() == [f"Prepared before: {tmp_path}/data/own_images/houses/1.0.0", *lines[1:]]
    other = launch(*arguments, "--seed=1")
    assert other.returncode == 1
    assert other.stderr.startswith("error: houses was prepared before from another table, target, unit, split or seed")
    assert other.stderr.count("\n") == 1


def test_half_a_command_is_told(tmp_path):
    for arguments in (["--manual_dir=x"], ["--table=t.csv", "--target=price"], ["--dataset=utkface", "--name=x"]):
        done = launch(*arguments, f"--data_dir={tmp_path}/data")
        assert done.returncode == 1
        assert done.stderr.startswith("error: give either --dataset and --manual_dir, or --table, --images, --target ")


def test_pictures_with_depth_maps(tmp_path):
    write_pairs(tmp_path / "rooms", 12)
    arguments = [f"--depth_images={tmp_path}/rooms", "--name=rooms", f"--data_dir={tmp_path}/data"]
    done = launch(*arguments, "--depth_scale=1/25.5")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        f"Prepared: {tmp_path}/data/own_depths/rooms/1.0.0",
        "rooms: 12 pictures with depth: 9 train, 1 val, 2 test",
    ]
    assert lines[2].startswith(f"training depths: {9 * 228 * 304:,} measured pixels, ")
    assert lines[3:] == [
        "feature smoothing: 9 training pictures, drawn with seed 0, give its statistics",
        "skipped: none",
        "byte-identical pairs in several splits: 0 groups",
        "rotated by EXIF data: 0 pictures; they are read as stored, as their depth maps are",
    ]
    other = launch(*arguments, "--depth_scale=0.001")
    assert (other.returncode, other.stdout) == (1, "")
    assert other.stderr.startswith("error: rooms was prepared before from other pictures, or with another scale or")
    assert launch(*arguments).stderr.startswith("error: give either --dataset and --manual_dir, or --table, ")
