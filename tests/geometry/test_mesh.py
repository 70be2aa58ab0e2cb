"""Meshes: checks in one line each, Laplacians and geodesics against known values, handles by their laws, silhouettes by
area, rasterisation and finite differences."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jnrsfm.errors import InputError
from jnrsfm.geometry import mesh as meshes
from jnrsfm.geometry.rotations import random_rotations

spec = importlib.util.spec_from_file_location(
    "mesh_shapes", __file__.replace("test_mesh.py", "mesh_shapes.py")
)
shapes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shapes)
pytestmark = pytest.mark.fast
needs_extra = pytest.mark.skipif(
    not all(importlib.util.find_spec(n) for n in ("robust_laplacian", "potpourri3d")),
    reason="needs the extra mesh",
)

BALL = shapes.icosphere(1)
SOLID = shapes.animal()


def _with(mesh, **changes):
    return dataclasses.replace(mesh, **changes)


def _pinched():
    """Two balls that share one vertex."""
    n = len(BALL.vertices)
    other = np.arange(n) + n
    other[0] = 0
    moved = 2 * BALL.vertices[0] - BALL.vertices
    merged = np.concatenate([BALL.vertices, moved])
    faces = np.concatenate([BALL.faces, other[BALL.faces[:, ::-1]]])
    used = np.unique(faces)
    return meshes.TriangleMesh(merged[used], np.searchsorted(used, faces).astype(np.int32))


def _finned():
    """A fin of two faces on an edge."""
    a, b = BALL.faces[0, :2]
    far = int(np.argmax(np.linalg.norm(BALL.vertices - BALL.vertices[a], axis=1)))
    return np.concatenate([BALL.faces, [[a, b, far], [b, a, far]]]).astype(np.int32)


FAULTS = {
    "is open": _with(BALL, faces=BALL.faces[1:]),
    "not manifold: edge": _with(BALL, faces=_finned()),
    "not manifold: two surfaces": _pinched(),
    "not oriented alike": _with(BALL, faces=np.concatenate([BALL.faces[:1, ::-1], BALL.faces[1:]])),
    "inside out": _with(BALL, faces=BALL.faces[:, ::-1]),
    "2 pieces": meshes.TriangleMesh(
        np.concatenate([BALL.vertices, BALL.vertices + 3]),
        np.concatenate([BALL.faces, BALL.faces + len(BALL.vertices)]),
    ),
    "outside 0 to": _with(BALL, faces=BALL.faces + 1),
    "in no face": _with(BALL, vertices=np.concatenate([BALL.vertices, [[0, 0, 9]]]).astype(np.float32)),
    "names a vertex twice": _with(BALL, faces=np.concatenate([BALL.faces, [[0, 0, 1]]]).astype(np.int32)),
    "not finite": _with(BALL, vertices=BALL.vertices * np.float32(np.nan)),
    "decimate": meshes.TriangleMesh(np.zeros((7000, 3), np.float32), BALL.faces),
    "called 'a'": _with(BALL, keypoints=np.array([0, 1]), names=("a", "a")),
    "keypoints name vertices": _with(BALL, keypoints=np.array([99])),
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_mesh_that_cannot_serve_gives_one_line(text):
    with pytest.raises(InputError, match=text) as error:
        meshes.check_mesh(FAULTS[text], "my.obj")
    assert str(error.value).startswith("my.obj: ")
    assert "\n" not in str(error.value)


def test_sound_meshes_pass_and_have_each_edge_once():
    for mesh in (BALL, SOLID):
        meshes.check_mesh(mesh)
        table = meshes.edge_table(mesh.faces)
        assert len(table.ends) == 1.5 * len(mesh.faces)
        for (a, b), (one, two) in zip(table.ends, table.faces, strict=True):
            assert {a, b} <= set(mesh.faces[one]) & set(mesh.faces[two])
            assert one != two
    assert np.allclose(np.linalg.norm(meshes.vertex_normals(BALL.vertices, BALL.faces), axis=1), 1, atol=1e-5)
    assert (meshes.vertex_normals(BALL.vertices, BALL.faces) * BALL.vertices).sum(1).min() > 0.98


@needs_extra
@pytest.mark.parametrize("kind", ["intrinsic", "cotangent", "uniform"])
def test_laplacians(kind):
    """Symmetric, constants in the null space, positive semi-definite; of x on the unit sphere, -Δx = 2x."""
    ball = shapes.icosphere(2)
    matrix = meshes.laplacian(ball, kind).toarray()
    assert np.allclose(matrix, matrix.T)
    assert np.abs(matrix.sum(1)).max() < 1e-9
    assert np.linalg.eigvalsh(matrix).min() > -1e-9
    if kind != "uniform":
        x = ball.vertices[:, 0].astype(float)
        quotient = x @ matrix @ x / (x**2).sum() * len(x) / (4 * np.pi)
        assert abs(quotient - 2) < 0.1
    assert (
        meshes.laplacian(SOLID, "intrinsic").tocoo().data.min() < 0 < meshes.laplacian(SOLID).diagonal().min()
    )


@needs_extra
def test_geodesics_and_farthest_vertices():
    ball = shapes.icosphere(2)
    chosen, distances = meshes.farthest_vertices(ball, 6)
    angle = np.arccos(np.clip(ball.vertices[chosen] @ ball.vertices.T, -1, 1))
    assert np.abs(distances - angle).max() < 0.12
    assert angle[:, chosen][~np.eye(6, dtype=bool)].min() > 1.0  # spread out
    with pytest.raises(InputError, match="handles=200"):
        meshes.farthest_vertices(ball, 200)


@needs_extra
class TestHandles:
    """Laws of the deformation layer."""

    @pytest.fixture(scope="class")
    def model(self):
        return meshes.handle_model(BALL, 4, stiffness=0.3)

    def test_rows_are_on_the_simplex_and_local(self, model):
        assert np.allclose(model.weights.sum(1), 1, atol=1e-6)
        assert (model.weights.argmax(1) == model.vertices).all()

    def test_the_template_is_a_fixed_point_and_translation_goes_through(self, model):
        a = model.weights
        still = meshes.deform(model.gram, model.rest, a, a @ model.rest)
        assert np.allclose(still, model.rest, atol=1e-6)
        shift = np.array([0.3, -0.2, 0.5], np.float32)
        moved = meshes.deform(model.gram, model.rest, a, a @ model.rest + shift)
        assert np.allclose(moved, model.rest + shift, atol=2e-5)

    def test_it_minimises_the_energy(self, model):
        """The normal equations of eq. 2 in print, in float64, by a solver that knows nothing of D."""
        rng = np.random.default_rng(0)
        matrix = 0.3 * meshes.laplacian(BALL).toarray()
        a, rest = model.weights.astype(float), model.rest.astype(float)
        handles = a @ rest + 0.1 * rng.normal(size=(4, 3))
        stacked, right = np.concatenate([matrix, a]), np.concatenate([matrix @ rest, handles])
        wanted = np.linalg.lstsq(stacked, right, rcond=None)[0]
        found = meshes.deform(model.gram, model.rest, model.weights, handles.astype(np.float32))
        assert np.abs(found - wanted).max() < 2e-5
        c, d = meshes.fold(model.gram, model.rest, a)
        assert np.abs(c + d @ handles - wanted).max() < 1e-5
        stiffer = meshes.handle_model(BALL, 4, stiffness=3.0)
        follow = lambda m: np.abs(m.weights @ (m.basis @ (handles - a @ rest)) - (handles - a @ rest)).max()
        assert follow(stiffer) > 3 * follow(model)

    def test_derivatives_in_float64_for_weights_handles_and_a_batch(self, model):
        with jax.enable_x64(True):
            rng = np.random.default_rng(1)
            wide = lambda x: jnp.asarray(x, jnp.float64)
            gram, rest, logits = wide(model.gram), wide(model.rest), 0.1 * wide(model.logits)
            handles = wide(model.weights @ model.rest) + 0.1 * rng.normal(size=(2, 4, 3))
            pick = rng.normal(size=(2, len(rest), 3))

            def energy(logits, handles):
                found = meshes.deform(gram, rest, jax.nn.softmax(logits), handles)
                return (pick * found**2).sum()

            check_grads(jax.jit(energy), (logits, handles), order=1, modes=("rev",), atol=1e-6, rtol=1e-6)
            # the weights themselves, off the simplex too; and alike by the printed form, W V = b
            weights = jax.nn.softmax(logits)

            def printed(a, h):
                found = jnp.linalg.solve(gram + a.T @ a, gram @ rest + a.T @ h)
                return (pick * found**2).sum()

            def ours(a, h):
                return (pick * meshes.deform(gram, rest, a, h) ** 2).sum()

            for found, wanted in zip(
                jax.grad(ours, (0, 1))(weights, handles),
                jax.grad(printed, (0, 1))(weights, handles),
                strict=True,
            ):
                assert jnp.abs(found - wanted).max() < 1e-8 * jnp.abs(wanted).max()


SIZE = (48, 56)
OUTLINE = meshes.outline_of(SOLID.faces)


def _views(count=4):
    turns = np.asarray(random_rotations(jax.random.key(3), (count,)))
    return np.einsum("vj,fij->fvi", SOLID.vertices, turns) * 9 + np.array([27.3, 23.8, 0])


_covered = jax.jit(lambda p: meshes.coverage(OUTLINE, p, SIZE))


def test_silhouettes_are_those_of_the_z_buffer():
    views = _views()
    found = np.asarray(_covered(jnp.asarray(views[..., :2], jnp.float32)))
    for soft, view in zip(found, views, strict=True):
        drawn = meshes.rasterise(view, SOLID.faces, SIZE)
        hard = drawn.face >= 0
        assert (hard != (soft > 0.5)).sum() <= 4
        assert abs(soft.sum() - hard.sum()) < 0.02 * hard.sum()
        assert soft.min() >= 0
        assert soft.max() <= 1 + 1e-5
        near = drawn.of_vertices(view[:, 2:], SOLID.faces)[..., 0]
        assert np.allclose(near[hard], drawn.depth[hard])


def test_derivative_of_silhouettes_by_finite_differences():
    """Of a function of the mask, along shifts, growth, and each vertex its own way: it is piecewise smooth."""
    with jax.enable_x64(True):
        points = jnp.asarray(_views()[..., :2])
        y, x = np.mgrid[: SIZE[0], : SIZE[1]]
        ramp = jnp.asarray(np.sin(x / 7.0) + np.cos(y / 5.0))
        score = lambda p: (ramp * meshes.coverage(OUTLINE, p, SIZE)).sum()
        both = jax.jit(jax.value_and_grad(score))
        slope = both(points)[1]
        rng = np.random.default_rng(0)
        for way in (
            np.ones((1, 1, 2)),
            points - points.mean(1, keepdims=True),
            rng.normal(size=points.shape),
        ):
            way = way * np.ones_like(points)
            step = 1e-6
            numeric = (both(points + step * way)[0] - both(points - step * way)[0]) / (2 * step)
            assert abs((slope * way).sum() - numeric) < 1e-5 * abs(numeric) + 1e-5


def test_a_contour_before_the_body_has_no_derivative_and_long_edges_are_whole():
    """What lies inside the outline does not move the mask; an icosahedron's edges cross half the image."""
    with jax.enable_x64(True):
        tall = shapes.icosphere(0)
        outline, size = meshes.outline_of(tall.faces), (48, 56)
        points = jnp.asarray(tall.vertices[:, :2] * 22 + 24.0)
        mask = meshes.coverage(outline, points, size, lines=4)
        hard = meshes.rasterise(np.c_[np.asarray(points), tall.vertices[:, 2]], tall.faces, size).face >= 0
        assert ((mask > 0.5) != hard).sum() <= 6
        assert abs(mask.sum() - hard.sum()) < 0.03 * hard.sum()
        slope = jax.grad(lambda p: meshes.coverage(outline, p, size, lines=4).sum())(points)
        rim = np.linalg.norm(tall.vertices[:, :2], axis=1) > 0.8
        assert np.abs(np.asarray(slope)[~rim]).max() < 1e-6 < 1 < np.abs(np.asarray(slope)[rim]).max()


@pytest.mark.skipif(importlib.util.find_spec("deodr") is None, reason="needs deodr")
def test_both_silhouettes_agree():
    from jnrsfm.geometry.mesh.silhouette_deodr import coverage_deodr

    views = jnp.asarray(_views()[..., :2], jnp.float32)
    target = _covered(views[::-1])
    lossy = lambda draw: lambda move: ((draw(views * move[0] + move[1:]) - target) ** 2).sum()
    start = jnp.array([1.02, 0.7, -0.4])
    one, two = (
        jax.jit(jax.value_and_grad(lossy(f)))(start)
        for f in (lambda p: meshes.coverage(OUTLINE, p, SIZE), lambda p: coverage_deodr(OUTLINE, p, SIZE))
    )
    assert abs(one[0] - two[0]) < 0.1 * two[0]
    cosine = (one[1] * two[1]).sum() / jnp.linalg.norm(one[1]) / jnp.linalg.norm(two[1])
    assert cosine > 0.9


def test_visible_vertices():
    """Of a ball, those of the near half; a plate of another body would hide them: here the far lobe of a lump."""
    ball = shapes.icosphere(2)
    seen = np.asarray(meshes.vertex_visible(jnp.asarray(ball.vertices), ball.faces))
    depth = ball.vertices[:, 2]
    assert seen[depth < -0.15].all()
    assert not seen[depth > 0.4].any()
    views = _views(3)
    found = np.asarray(meshes.vertex_visible(jnp.asarray(views, jnp.float32), SOLID.faces))
    drawn = [meshes.rasterise(v * 4, SOLID.faces, (200, 240)) for v in views]
    for seen, raster, view in zip(found, drawn, views, strict=True):
        x, y = np.round(4 * view[:, :2]).astype(int).T
        inside = (x >= 0) & (y >= 0) & (x < 240) & (y < 200)
        near = raster.depth[np.clip(y, 0, 199), np.clip(x, 0, 239)] > 4 * view[:, 2] - 3
        assert (seen[inside] == near[inside]).mean() > 0.93


@needs_extra
def test_files(tmp_path):
    trimesh = pytest.importorskip("trimesh")
    meshes_ = trimesh.Trimesh(SOLID.vertices, SOLID.faces, process=False)
    for ending in ("obj", "ply", "glb"):
        meshes_.export(tmp_path / f"a.{ending}")
        found = meshes.read_mesh(tmp_path / f"a.{ending}")
        assert len(found.vertices) == 162
        assert np.allclose(np.sort(found.vertices, 0), np.sort(SOLID.vertices, 0), atol=1e-5)
    (tmp_path / "points.yaml").write_text("nose: 3\ntail: 7\n")
    found = meshes.read_mesh(tmp_path / "a.ply", tmp_path / "points.yaml")
    assert found.names == ("nose", "tail")
    assert np.allclose(found.vertices[found.keypoints], SOLID.vertices[[3, 7]], atol=1e-5)
    (tmp_path / "b.obj").write_text("v 0 0 nonsense\n")
    np.savez(tmp_path / "c.npz", vertices=SOLID.vertices)
    for name, text in (
        ("b.obj", "b.obj: "),
        ("c.npz", "no key 'faces'"),
        ("no.obj", "no such file"),
        ("points.yaml", "is no mesh"),
    ):
        with pytest.raises(InputError, match=text) as error:
            meshes.read_mesh(tmp_path / name)
        assert "\n" not in str(error.value)
