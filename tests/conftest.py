"""Every test sees four simulated CPU devices and strict rank promotion."""

import os
import shutil
import tempfile
from pathlib import Path

# XLA:CPU sizes the pool that its collectives wait on by the core count: four devices deadlock on two cores without it.
os.environ.setdefault("NPROC", "16")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
# Programs of tests run once or twice: LLVM's optimisations take longer than they save, by a quarter of all the time.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

import jax
import pytest

TESTS = Path(__file__).parent

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")

# Compiling is most of the time of the tests: what one test, worker or launched program compiled serves the others. The
# folder is made, and removed, by the session's first process; the others inherit its name.
CACHE = "JAX_COMPILATION_CACHE_DIR"
MADE = None if CACHE in os.environ else tempfile.mkdtemp(prefix="compiled-")
os.environ.setdefault(CACHE, str(MADE))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_compilation_cache_dir", os.environ[CACHE])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


# Files that take longest come first, or else one worker of `pytest -n 2 --dist loadfile` is left alone with one of
# them. (xdist itself starts with the files of most tests, and they are among the fastest.)
LONGEST = (
    "launch/test_train.py",
    "launch/test_sweep.py",
    "study/test_engine.py",
    "test_documents.py",
    "test_notebook.py",
    "study/test_claims.py",
    "launch/test_own_images.py",
    "loop/test_task.py",
    "models/test_resnet.py",
    "benchmarks/test_resnet50.py",
    "launch/test_study.py",
    "study/test_trace.py",
    "study/test_study_baselines.py",
    "launch/test_prepare.py",
    "loop/test_step_settings.py",
    "benchmarks/test_study.py",
    "study/test_fit.py",
    "study/test_auxiliary_losses.py",
)


def pytest_configure(config):
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_unconfigure():
    if MADE:
        shutil.rmtree(MADE, ignore_errors=True)


@pytest.fixture
def golden():
    """The folder of golden numbers (provenance: tests/golden/README.md)."""
    return TESTS / "golden"


@pytest.fixture(scope="session")
def prepared_faces(tmp_path_factory):
    """A data folder with a small utkface: 130 images to train, 48 val, 48 test; one many-, one medium-shot age."""
    import tensorflow_datasets as tfds
    from face_images import write_faces

    from regcls_jax.data.images.prepare import prepare

    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder / "images", [25] * 142 + [40] * 60 + [70] * 12 + [5] * 12, 32)
    tfds.disable_progress_bar()
    prepare("utkface", folder / "images", folder / "data")
    return folder / "data"


@pytest.fixture(scope="session")
def faces(prepared_faces):
    """The data set `prepared_faces`."""
    from regcls_jax.data.images.splits import load_images

    return load_images("utkface", prepared_faces)


@pytest.fixture(scope="module")
def small_network():
    """Trainings of this module build a network of one block in place of ResNet-18."""
    from image_training import four_layers

    with four_layers():
        yield
