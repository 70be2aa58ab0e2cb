"""Front doors: what a room has to offer is exported by it, described, and used by somebody."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "linalg", "geometry", "inputs", "losses", "models", "factorization", "shape_prior", "training", "metrics",
)  # fmt: skip

pytestmark = pytest.mark.fast

# Public in a module, and not at the front door; each with the reason. A whole module: `module.*`.
NOT_EXPORTED = {
    "linalg.nearest_rotation.*": "works on tuples of entries, for `geometry.rotations` alone",
    "linalg.sign_synchronization.held_links": "a part of the solution of a chain, for `geometry.depth_reflection`",
    "linalg.sign_synchronization.support": "as `held_links`",
    "linalg.sign_synchronization.cuts": "as `held_links`",
    "inputs.category_samples.*": "what the multi-category lifter makes of landmarks, for its package",
    "models.saved.*": "for methods: `docs/adding_a_method.md` names it",
    "training.hosts.*": "what several processes agree on, for the engine",
    "training.checkpoints.*": "for the engine",
    "geometry.mirror_evidence.pair_distances": "a step of `resolve_mirrors`",
    "geometry.mirror_evidence.pair_evidence": "as `pair_distances`",
    "geometry.mirror_evidence.margin_of": "as `pair_distances`",
    "geometry.reflection_votes.*": "as `pair_distances`",
    "shape_prior.articulated.*": "the energy and its descent, for its method: the names are plain words",
    "shape_prior.category_prior.empty": "zeros in the layout of a saved model, for its method",
    "metrics.distances.*": "exported as a module: the names are plain words",
    "metrics.quality.*": "exported as a module, as `metrics.distances`",
    "metrics.curves.*": "exported as a module, as `metrics.distances`",
    "metrics.expected_error.terms": "a step of `predict`, for its calibration",
    "metrics.expected_error.least": "as `terms`",
    "metrics.quality_report.*": "what is for users is exported; the rest is for the report",
    "geometry.rays.*": "exported as a module: the names are plain words",
    "losses.field.*": "exported as a module, as `geometry.rays`",
    "models.field.*": "exported as a module, as `geometry.rays`",
    "losses.mesh.*": "exported as a module, as `losses.depth`",
    "metrics.mesh.*": "exported as a module, as `metrics.distances`",
    "inputs.flow.opencv": "the library, for the masks beside it",
    "inputs.masks.largest_piece": "a step of `mask_by_guess`",
    "losses.depth.*": "exported as a module: the names are plain words",
    "metrics.images.*": "exported as a module, as `metrics.distances`",
    "metrics.depth.*": "exported as a module, as `metrics.distances`",
    "metrics.matching.clip_names": "a step of a protocol",
    "metrics.matching.matched": "as `clip_names`",
    "metrics.matching.mirror_where": "as `clip_names`",
    "metrics.matching.on_host": "as `clip_names`",
    "metrics.matching.size_text": "as `clip_names`",
}

# Nobody in the package calls these: they are there for users, and their tests keep them right.
FOR_USERS = {
    "dictionary_weak": "the dense dictionary of the thesis: for teaching, and the oracle of the camera models",
    "soft_threshold": "the scalar case of the block map",
    "block_sparse_objective": "what a Deep NRSfM layer descends: the measure in experiments and tests",
    "block_ista_step": "the layer of the paper, written as the equation: the oracle of the fused network",
    "stationarity": "whether a joint alignment has converged",
    "align_similarity": "the alignment with scale of published evaluations",
    "align_orthogonal": "the alignment with a mirror of published evaluations, differentiable",
    "align_set": "one map for a set, differentiable",
    "matrix_to_axis_angle": "the inverse of `axis_angle_to_matrix`",
    "geodesic_distance": "the error of a camera",
    "dct_displacement_basis": "for motion relative to a moving point",
    "from_trajectory": "a pair with `to_trajectory`",
    "to_trajectory": "a pair with `from_trajectory`",
    "solve_onp_linear": "the linear solution, which is differentiated through",
    "evaluate_by_category": "the protocols on each category",
    "overwrite_visible_xy": "what the authors of `c3dpo` do before scoring",
    "point_errors": "errors of single points",
    "error_curves": "curves of the literature",
}


def exported(room):
    """`{name: object}` of what a front door exports; modules aside."""
    module = importlib.import_module(f"jnrsfm.{room}")
    tree = ast.parse(Path(module.__file__).read_text())
    names = [a.asname or a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names]
    found = {name: getattr(module, name) for name in names}
    return {k: v for k, v in found.items() if not isinstance(v, type(sys))}


def defined(room):
    """`(module, name)` of the public functions and classes of a room."""
    for path in sorted((ROOT / "jnrsfm" / room).glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
                yield path.stem, node.name


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_exported_has_a_docstring(room):
    module = importlib.import_module(f"jnrsfm.{room}")
    assert module.__doc__
    assert exported(room)
    bad = [name for name, value in exported(room).items() if callable(value) and not value.__doc__]
    assert not bad, bad


@pytest.mark.parametrize("room", ROOMS)
def test_what_is_public_is_exported_or_has_a_reason_not_to_be(room):
    values = list(exported(room).values())
    bad = []
    for module, name in defined(room):
        value = getattr(importlib.import_module(f"jnrsfm.{room}.{module}"), name)
        excused = {f"{room}.{module}.{name}", f"{room}.{module}.*"} & set(NOT_EXPORTED)
        if not excused and not any(value is other for other in values):
            bad.append(f"{module}.{name}")
    assert not bad, f"export these in jnrsfm/{room}/__init__.py, or say why not: {bad}"


def test_no_excuse_is_left_over():
    known = {f"{room}.{m}.{n}" for room in ROOMS for pair in defined(room) for m, n in [pair]}
    known |= {name.rsplit(".", 1)[0] + ".*" for name in known}
    assert not set(NOT_EXPORTED) - known


@pytest.mark.parametrize("room", ROOMS)
def test_no_exported_name_hides_a_module(room):
    modules = {path.stem for path in (ROOT / "jnrsfm" / room).glob("*.py")}
    assert not modules & set(exported(room))


def test_every_exported_function_has_a_caller_or_is_for_users():
    files = [p for d in ("jnrsfm", "experiments", "benchmarks") for p in (ROOT / d).rglob("*.py")]
    doors = {ROOT / "jnrsfm" / room / "__init__.py" for room in ROOMS}
    words: dict[str, int] = {}
    for path in files:
        if path not in doors:
            for node in ast.walk(ast.parse(path.read_text())):
                name = getattr(node, "id", getattr(node, "attr", None))
                if name:
                    words[name] = words.get(name, 0) + 1
    bad = []
    for room in ROOMS:
        for value in exported(room).values():
            name = getattr(value, "__name__", "")
            if re.fullmatch(r"[a-z]\w*", name) and not words.get(name) and name not in FOR_USERS:
                bad.append(f"{room}: {name}")
    assert not bad, f"use, delete, or say for whom they are: {bad}"


def test_front_doors_need_no_network_library_and_no_extra():
    blocked = ("flax", "optax", "orbax", "tyro", "matplotlib", "h5py", "torch")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r}))\n"
    code += "import types; package = types.ModuleType('jnrsfm'); package.__path__ = ['jnrsfm']\n"
    code += "sys.modules['jnrsfm'] = package\n"  # the package itself exports the methods, which need them
    plain = [
        room for room in ROOMS if room not in ("models", "training")
    ]  # networks and optimisers are theirs
    code += "\n".join(f"import jnrsfm.{room}" for room in plain)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
