"""The house rules that a machine can check: who imports whom, what an import costs, and how files look."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "jnrsfm"
MODULES = sorted(PACKAGE.rglob("*.py"))

pytestmark = pytest.mark.fast

# What each room may import of the package besides itself. Data takes one way through the house
# (CONTRIBUTING.md), and a room that is not in this table does not exist: add the row with the room.
# fmt: off
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "pixels": {"errors"},
    "by_type": {"errors"},
    "types": {"pixels", "errors"},
    "depth_maps": {"types", "errors"},
    "config": {"errors"},
    "scenes": {"types", "pixels", "errors"},
    "runs": {"types", "config", "errors"},
    "linalg": {"errors"},
    "geometry": {"linalg", "config", "types", "errors"},
    "metrics": {"by_type", "depth_maps", "geometry", "linalg", "types", "errors"},
    "io": {"by_type", "depth_maps", "geometry", "scenes", "runs", "config", "types", "pixels", "errors"},
    "datasets": {"io", "geometry", "scenes", "types", "pixels", "errors"},
    "inputs": {"geometry", "linalg", "types", "pixels", "errors"},
    "losses": {"geometry", "linalg", "types", "errors"},
    "models": {"inputs", "geometry", "linalg", "scenes", "runs", "types", "errors"},
    "factorization": {"inputs", "geometry", "linalg", "types", "errors"},
    "shape_prior": {"factorization", "inputs", "geometry", "linalg", "types", "errors"},
    "training": {"runs", "config", "types", "errors"},
    "methods": {
        "depth_maps", "training", "factorization", "shape_prior", "models", "losses", "inputs", "geometry", "linalg",
        "scenes", "runs", "config", "types", "errors",
    },
    "report": {"by_type", "depth_maps", "metrics", "geometry", "scenes", "runs", "types", "pixels", "errors"},
    "citations": {"methods", "types", "errors"},
    "lifting": {"depth_maps", "methods", "io", "inputs", "geometry", "types", "errors"},
    "result_runs": {"citations", "report", "methods", "training", "io", "runs", "errors"},
    "scene_fits": {
        "result_runs", "methods", "training", "io", "inputs", "metrics", "geometry", "scenes", "config", "pixels",
    },
    "depth_fits": {"result_runs", "depth_maps", "methods", "training", "metrics", "config"},
    "api": {
        "result_runs", "scene_fits", "scenes", "depth_maps", "depth_fits", "lifting", "citations", "report", "methods",
        "training", "io", "inputs", "metrics", "geometry", "runs", "config", "types", "pixels", "errors",
    },
    "demos": {"api", "datasets", "io", "runs", "inputs", "training", "types", "errors"},
    "cli": {
        "", "depth_maps", "api", "demos", "report", "methods", "scenes", "datasets", "io", "inputs", "metrics", "runs",
        "config",
        "types", "errors",
    },
    "__main__": {"cli"},
    "": {  # jnrsfm/__init__.py
        "api", "demos", "citations", "report", "methods", "training", "factorization", "shape_prior", "models",
        "losses", "inputs", "datasets", "io", "metrics", "geometry", "linalg", "config", "types", "pixels", "errors",
    },
}
# fmt: on

# Third-party interfaces that move, or that a user may not have, stay behind one room.
ONLY_IN: dict[str, set[str]] = {
    "tyro": {"cli"},
    "matplotlib": {"report"},
    "h5py": {"io"},
    "PIL": {"pixels"},
    "av": {"io"},
    "cv2": {"io", "inputs"},  # stereo videos; flow and masks of clips
    "trimesh": {"geometry"},
    "robust_laplacian": {"geometry"},
    "potpourri3d": {"geometry"},
    "deodr": {"geometry"},
    "pandas": {"io"},
    "xarray": {"io"},
    "ezc3d": {"io"},
    "orbax": {"training"},
    "optax": {"training", "methods", "losses"},  # optimisers; the assignment of matching
    "flax": {"models", "methods"},
    "torch": set(),
    "pytest": set(),
    "hypothesis": set(),
    "beartype": set(),
    "chex": set(),
}


def room_of(path: Path) -> str:
    """`geometry/cameras.py` -> `geometry`; `types.py` -> `types`; the package itself -> ``."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imports(path: Path, package: Path = PACKAGE) -> set[str]:
    """Dotted names of all that a module imports, also inside functions; relative ones resolved."""
    found: set[str] = set()
    here = ("jnrsfm", *path.relative_to(package).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(here[: len(here) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            # `from jnrsfm import io` names a room, `from jnrsfm.io import read` a function in it.
            found.update(".".join([*base, alias.name]) for alias in node.names)
    return found


def rooms_imported(path: Path, package: Path = PACKAGE) -> set[str]:
    """Rooms of the package that a module imports, itself included; names of `jnrsfm` itself count as ``."""
    rooms = set()
    known = {p.name.removesuffix(".py") for p in package.iterdir()}
    for name in imports(path, package):
        top, _, rest = name.partition(".")
        if top == "jnrsfm":
            first = rest.split(".")[0]
            rooms.add(first if first in known else "")
    return rooms


def test_every_room_is_in_the_table():
    rooms = {room_of(path) for path in MODULES}
    assert rooms <= set(MAY_IMPORT), f"add to MAY_IMPORT: {sorted(rooms - set(MAY_IMPORT))}"


def test_no_two_rooms_may_import_each_other():
    """The table has an order: taking away the rooms that import nothing that is left ends with no room."""
    left = dict(MAY_IMPORT)
    while ground := [room for room, allowed in left.items() if not allowed & set(left)]:
        for room in ground:
            del left[room]
    assert not left, f"these import each other: {sorted(left)}"


@pytest.mark.parametrize("room", sorted({room_of(path) for path in MODULES}))
def test_imports_point_one_way(room):
    allowed = MAY_IMPORT.get(room, set()) | {room}
    bad = [
        f"{path.relative_to(ROOT)} imports jnrsfm.{other}"
        for path in MODULES
        if room_of(path) == room
        for other in sorted(rooms_imported(path) - allowed)
    ]
    assert not bad, "\n".join(bad)


def test_third_party_interfaces_stay_behind_one_room():
    bad = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in MODULES
        for name in sorted(imports(path))
        if room_of(path) not in ONLY_IN.get(name.split(".")[0], {room_of(path)})
    ]
    assert not bad, "\n".join(bad)


def test_the_checker_sees_every_form_of_import(tmp_path):
    (tmp_path / "io").mkdir()
    (tmp_path / "types.py").touch()
    module = tmp_path / "io" / "npz.py"
    module.write_text(
        "import os.path\nfrom ..types import A\nfrom .. import metrics\nfrom . import mat\n"
        "def f():\n    from jnrsfm import cli, fit\n    import jnrsfm.report.page\n"
    )
    for name in ("metrics", "cli", "report"):
        (tmp_path / name).mkdir()
    assert rooms_imported(module, tmp_path) == {"types", "metrics", "io", "cli", "report", ""}


BLOCKED = (
    "tyro",
    "matplotlib",
    "torch",
    "h5py",
    "viser",
    "pandas",
    "xarray",
    "ezc3d",
    "trimesh",
    "robust_laplacian",
    "potpourri3d",
    "deodr",
    "beartype",
    "chex",
    "hypothesis",
)


def run_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT)


def test_every_module_imports_where_the_extras_are_absent_and_leaves_jax_alone():
    """One process: extras blocked, every module but the command line imported, jax.config compared."""
    names = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
        if room_of(path) not in ("cli", "__main__")
    )
    done = run_python(
        f"""
import importlib, sys
for name in {BLOCKED!r}:
    sys.modules[name] = None  # importing it raises ImportError
import jax
before = dict(jax.config.values)
for name in {names!r}:
    importlib.import_module(name)
after = dict(jax.config.values)
changed = [k for k in after if before.get(k) != after[k]]
assert not changed, f"importing the package changed jax.config: {{changed}}"
from jax._src import xla_bridge
assert not xla_bridge._backends, "importing the package started a device"
"""
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == ""


def test_importing_the_package_is_silent_and_loads_no_extra():
    done = run_python(
        "import sys, jnrsfm; "
        "loaded = sorted({name.split('.')[0] for name in sys.modules} & "
        "{'tyro', 'matplotlib', 'torch', 'h5py'}); assert not loaded, loaded"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_files_stay_readable():
    """No module of methods over 400 lines, none of the others over 450, no other file over 600."""

    def most(path: Path) -> int:
        parts = path.relative_to(ROOT).parts
        return 400 if parts[:2] == ("jnrsfm", "methods") else 450 if parts[0] == "jnrsfm" else 600

    files = [
        p
        for folder in ("jnrsfm", "tests", "experiments", "benchmarks")
        for p in (ROOT / folder).rglob("*.py")
    ]
    long = [f"{p.relative_to(ROOT)}: {n}" for p in files if (n := len(p.read_text().splitlines())) > most(p)]
    assert not long, f"look for the seam in {long}"


def test_methods_holds_methods_only():
    """Each module of the room is a published system with an entry of the registry, or what they share."""
    shared = {"__init__", "base", "recipe"}
    names = {
        p.stem for p in (PACKAGE / "methods").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    bad = [
        name
        for name in sorted(names - shared)
        if not any(
            "INFO = MethodInfo(" in p.read_text()
            for p in (PACKAGE / "methods" / f"{name}.py", PACKAGE / "methods" / name / "__init__.py")
            if p.is_file()
        )
    ]
    assert not bad, bad


def public_definitions(tree: ast.Module):
    """Public functions and classes of a module, and the public methods of its public classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    if isinstance(member, ast.FunctionDef) and member.name[0] != "_":
                        yield f"{node.name}.{member.name}", member


def test_everything_public_has_a_docstring():
    bad = []
    for path in MODULES:
        tree = ast.parse(path.read_text())
        where = path.relative_to(ROOT)
        if not ast.get_docstring(tree):
            bad.append(f"{where}: module")
        bad += [f"{where}: {name}" for name, node in public_definitions(tree) if not ast.get_docstring(node)]
    assert not bad, "\n".join(bad)


def tracked_files() -> list[Path]:
    try:
        done = subprocess.run(["git", "ls-files", "-z"], capture_output=True, cwd=ROOT, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_tracked_file_names_a_place_on_one_machine():
    home = re.compile(rb"(?<![\w.])/(?:home|root|tmp|work|farm|Users)/[\w.]")
    bad = []
    for path in tracked_files():
        data = path.read_bytes()
        if b"\0" not in data[:1024]:
            bad += [f"{path.relative_to(ROOT)}: {m.group().decode()}" for m in home.finditer(data)]
    assert not bad, "\n".join(bad)


def test_no_tracked_file_is_over_2_mb():
    bad = [str(path.relative_to(ROOT)) for path in tracked_files() if path.stat().st_size > 2_000_000]
    assert not bad, bad


def test_no_error_is_silenced():
    """An `except` that catches everything and does nothing hides the next mistake."""
    bad = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                wide = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
                if wide and all(isinstance(statement, ast.Pass) for statement in node.body):
                    bad.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not bad, bad
