"""Fixtures and settings that all tests share."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import hypothesis
import jax
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
# XLA's newer emitters of fused loops are slow to compile: without them a gradient compiles in a third to an eighth of
# the time, and its values are the same to rounding. (With
# --xla_cpu_parallel_codegen_split_count=1 code is made in a tenth less time still, and rounds differently.)
QUICK_FLAG = "--xla_cpu_use_fusion_emitters=false"


def _known_flags() -> str:
    """The flag, if this jaxlib takes it: XLA ends the process at one that it does not know, and a name that it has
    given up stays in its library, so a child process tries."""
    try_it = [sys.executable, "-c", "import jax; jax.devices()"]
    environ = os.environ | {"XLA_FLAGS": QUICK_FLAG, "JAX_PLATFORMS": "cpu"}
    return QUICK_FLAG if subprocess.run(try_it, env=environ, capture_output=True).returncode == 0 else ""


def _compile_quickly() -> None:
    """Leave the dear optimisations out, here and in the processes that tests start: nearly all programs of the suite
    run once. `JNRSFM_TEST_OPTIMIZED=1` compiles as users' programs are."""
    if os.environ.get("JNRSFM_TEST_OPTIMIZED") == "1":
        return
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    jax.config.update("jax_disable_most_optimizations", True)
    # Tried once: the workers of pytest-xdist inherit the answer.
    if "JNRSFM_TEST_FLAGS" not in os.environ:
        os.environ["JNRSFM_TEST_FLAGS"] = _known_flags()
    flags = os.environ.get("XLA_FLAGS", "")
    more = [flag for flag in os.environ["JNRSFM_TEST_FLAGS"].split() if flag.split("=")[0] not in flags]
    os.environ["XLA_FLAGS"] = " ".join([flags, *more]).strip()


_compile_quickly()

# A failing example must come back on the next run, here and on the build machine.
hypothesis.settings.register_profile("jnrsfm", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("jnrsfm")


def _processor() -> str:
    """What compiled code depends on: a cache filled on one processor must not serve another."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        flags = next(line for line in text.splitlines() if line.lower().startswith(("flags", "features")))
    except (OSError, StopIteration):
        flags = platform.processor()
    return hashlib.sha256(f"{platform.machine()} {flags}".encode()).hexdigest()[:12]


def pytest_configure(config):
    """Keep compiled programs between runs, for the tests and for the processes they start.

    Compiling is most of the suite's time. `JNRSFM_TEST_CACHE=0` switches this off, and a cache folder set
    by the user stays in force.
    """
    if os.environ.get("JNRSFM_TEST_CACHE") == "0" or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    folder = ROOT / ".pytest_cache" / "jax" / f"{jax.__version__}-{_processor()}"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    # Two runs at once may meet half an entry; JAX then compiles anew and says so.
    config.addinivalue_line("filterwarnings", "ignore:Error (reading|writing) persistent compilation cache")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """The dearest files come first, so that what begins last does not take longest.

    `-m fast` takes float32 alone where a test runs in both precisions, and of a test marked `first` its first case:
    each case compiles anew, which is nearly all that it costs.
    """
    dear = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in dear)
    if config.option.markexpr != "fast":
        return
    kept, dropped, met = [], [], set()
    for item in items:
        cases = getattr(getattr(item, "callspec", None), "params", {})
        test = item.nodeid.split("[")[0]
        again = item.get_closest_marker("first") is not None and test in met
        (dropped if again or cases.get("dtype") == "float64" else kept).append(item)
        met.add(test)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The development data: `JNRSFM_DATA`, or `../shared/data` beside the checkout; skips where absent."""
    folder = Path(os.environ.get("JNRSFM_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("the development data is not here (set JNRSFM_DATA)")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator, new for every test."""
    return np.random.default_rng(0)


@pytest.fixture
def key() -> jax.Array:
    """A seeded JAX key."""
    return jax.random.key(0)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Both precisions; float64 is switched on for the test only."""
    if request.param == "float32":
        yield np.float32
    else:
        with jax.enable_x64(True):
            yield np.float64


@pytest.fixture(scope="session")
def cpu_devices():
    """`cpu_devices(count)`: the environment of a child process that has so many CPU devices."""

    def environment(count: int) -> dict[str, str]:
        flags = os.environ.get("XLA_FLAGS", "")
        made = f"{flags} --xla_force_host_platform_device_count={count}".strip()
        return os.environ | {"XLA_FLAGS": made, "JAX_PLATFORMS": "cpu"}

    return environment


@pytest.fixture(scope="session")
def stopping():
    """`stopping(folder, after, error=None, resume=False)`: a session that is asked to stop, or struck by an error, once
    so many dispatches are recorded."""
    from jnrsfm.training import Session  # after the types of its arguments are checked

    class Stopping(Session):
        def __init__(self, folder, after, error=None, **options):
            super().__init__(folder, **options)
            self._left, self._error = after, error

        def record(self, *args, **kwargs):
            super().record(*args, **kwargs)
            self._left -= 1
            if self._left == 0:
                if self._error is not None:
                    raise self._error
                self.stop_requested = True

    return Stopping


@pytest.fixture
def walk(rng):
    """A small random reconstruction with proper rotations."""
    from jnrsfm.types import Cameras, Reconstruction  # after the types are watched: as in the other tests

    frames, points = 12, 6
    q, _ = np.linalg.qr(rng.normal(size=(frames, 3, 3)))
    q *= np.linalg.det(q)[:, None, None]
    shapes = rng.normal(size=(frames, points, 3)).astype(np.float32)
    shapes -= shapes.mean(1, keepdims=True)
    return Reconstruction(points3d=shapes, cameras=Cameras(rotations=q.astype(np.float32)))


@pytest.fixture
def walk_files(tmp_path, walk):
    """A folder with a landmark file with its 3D, a perfect reconstruction of it, and one with a point too few."""
    from jnrsfm import io

    truth = walk
    points2d = np.asarray(truth.points2d)
    np.savez(
        tmp_path / "walk.npz",
        points2d=points2d, visible=np.ones(points2d.shape[:2], bool), points3d=truth.points3d,
        rotations=truth.rotations, camera="orthographic",
    )  # fmt: skip
    io.write_reconstruction(tmp_path / "perfect.npz", truth)
    io.write_reconstruction(tmp_path / "short.npz", truth.replace(points3d=truth.points3d[:, 1:]))
    return tmp_path


@pytest.fixture
def answer(capsys):
    """`answer(*argv)`: the JSON object of a command that succeeds, alone on stdout."""
    from jnrsfm import cli

    def of(*argv) -> dict:
        capsys.readouterr()
        code = cli.main([*map(str, argv), "--json"])
        out, err = capsys.readouterr()
        assert code == 0, err
        assert out.count("\n") == 1
        return json.loads(out)

    return of


@pytest.fixture
def refusal(capsys):
    """`refusal(*argv, code=2)`: the one line on stderr of a command that fails, and nothing on stdout."""
    from jnrsfm import cli

    def of(*argv, code: int = 2) -> str:
        capsys.readouterr()
        assert cli.main([str(a) for a in argv]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("jnrsfm: ")
        assert err.count("\n") == 1, err
        return err

    return of
