"""Pairs of sentences: what is read, which shots are the published ones, features without an order, mistakes."""

import numpy as np
import pytest
from paths import SHARED

from regcls_jax.data import sts_b_dir
from regcls_jax.data.sts_b_dir import FILES, features, pairs_specs, predictors, read, read_pairs, shot_names

HEADER = "index\tgenre\tsentence1\tsentence2\tscore\n"


def write(folder, name, pairs):
    lines = [f"{i}\tnews\t{first}\t{second}\t{score}\n" for i, (first, second, score) in enumerate(pairs)]
    (folder / name).write_text(HEADER + "".join(lines))


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    words = "a man is playing the guitar while women eat some rice near old house".split()
    for name, count in zip(FILES.values(), (300, 40, 40), strict=True):
        pairs = []
        for _ in range(count):
            first = generator.choice(words, 6)
            kept = generator.integers(0, 7)
            second = [*first[:kept], *generator.choice(words, 6 - kept)]
            pairs.append((" ".join(first), " ".join(second), f"{5 * kept / 6:.1f}"))
        write(tmp_path, name, pairs)
    return tmp_path


def letters(sentences):
    """Unit vectors of the counts of letters, in place of WordLlama's."""
    counts = np.array([[sentence.count(letter) for letter in "aeioulmnrst"] for sentence in sentences], np.float32)
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def test_a_problem_has_the_given_splits_and_shots(folder, monkeypatch):
    monkeypatch.setattr(sts_b_dir, "_embed", letters)
    first, second = pairs_specs({"folder": str(folder), "repetitions": 2})
    assert (first.seed, second.seed, first.shared) == (0, 1, second.shared)
    problem = read(first, "")
    assert [len(rows) for rows in problem.splits.values()] == [300, 40, 40]
    assert np.concatenate([*problem.splits.values()]).tolist() == [*range(380)]
    counts = np.bincount(np.round(problem.targets[problem.splits["train"]] * 10).astype(int).clip(0, 49), minlength=50)
    shots = [name.split()[1] for name in problem.groups.names]
    assert shots == ["many" if count > 100 else "few" if count < 20 else "medium" for count in counts]
    assert (problem.groups.of == np.round(problem.targets * 10).astype(int).clip(0, 49)).all()
    found = predictors(first, problem)
    test = problem.splits["test"]
    constant = np.mean((problem.targets[test] - problem.targets[problem.splits["train"]].mean()) ** 2)
    for name in ("cosine", "ridge", "boosting"):
        assert np.mean((found[name][test] - problem.targets[test]) ** 2) < constant


def test_features_do_not_depend_on_which_sentence_comes_first():
    first, second = letters(["a man eats", "women"]), letters(["rice", "women"])
    np.testing.assert_array_equal(features(first, second), features(second, first))
    assert features(first, second).shape == (2, 2 * first.shape[1] + 1)
    assert features(first, first)[:, -1] == pytest.approx(1)


def test_quotes_are_part_of_a_sentence(tmp_path):
    write(tmp_path, "a.tsv", [('He said "no', "NA", "2.5"), ("x", "y", "5")])
    frame = read_pairs(tmp_path / "a.tsv")
    assert frame["sentence1"].tolist() == ['He said "no', "x"]
    assert frame["sentence2"].tolist() == ["NA", "y"]
    assert frame["score"].tolist() == [2.5, 5.0]


@pytest.mark.parametrize(
    ("pairs", "match"),
    [
        ([("a", "b", "5.1")], r"a\.tsv, row 2: score '5\.1' is no number from 0 to 5"),
        ([("a", "b", "1"), ("a", "b", "")], r"row 3: score '' is no number"),
        ([("a", " ", "1")], r"row 2: sentence2 is empty"),
    ],
)
def test_a_mistake_is_named_by_its_row(pairs, match, tmp_path):
    write(tmp_path, "a.tsv", pairs)
    with pytest.raises(ValueError, match=match):
        read_pairs(tmp_path / "a.tsv")


def test_files_that_are_none(tmp_path):
    with pytest.raises(OSError, match=r"train_new\.tsv does not exist; data\.folder must hold train_new\.tsv, dev_new"):
        read(pairs_specs({"folder": str(tmp_path)})[0], "")
    (tmp_path / "a.tsv").write_text("one\ttwo\n1\t2\n")
    with pytest.raises(ValueError, match="has no column score"):
        read_pairs(tmp_path / "a.tsv")
    (tmp_path / "a.tsv").write_text("")
    with pytest.raises(ValueError, match="is no table of tab-separated columns"):
        read_pairs(tmp_path / "a.tsv")


def test_word_vectors_say_what_is_alike():
    pytest.importorskip("wordllama", reason="wordllama is not installed")
    dog, hound, car = sts_b_dir._embed(["a dog runs", "a hound is running", "stock prices fell"])
    assert np.linalg.norm(dog) == pytest.approx(1, abs=1e-5)
    assert dog @ hound > dog @ car + 0.2


def test_the_published_files_have_the_published_sizes():
    folder = SHARED / "data" / "sts_b_dir"
    if not folder.exists():
        pytest.skip("../shared/data/sts_b_dir is not here")
    frames = {split: read_pairs(folder / name) for split, name in FILES.items()}
    assert {split: len(frame) for split, frame in frames.items()} == {"train": 5249, "val": 1000, "test": 1000}
    names = shot_names(frames["train"]["score"].to_numpy())
    assert (names[0], names[1], names[49]) == ("00 many", "01 few", "49 many")
