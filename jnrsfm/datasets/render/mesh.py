"""A closed triangle mesh of a figure, and where each of its vertices is at every time.

The figure stands with its limbs apart, so that nothing touches that does not belong together. The surface
of the union of its parts is marched over a grid cut into tetrahedra, which gives a closed manifold whatever
the shape; the vertices are then moved onto the surface, and ride on the parts."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from jnrsfm.datasets.render.anatomy import Body
from jnrsfm.datasets.render.config import RenderedFigures
from jnrsfm.datasets.render.drawing import subject
from jnrsfm.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class FigureMesh:
    """A closed mesh in motion: `vertices (vertex, 3)` at rest and `tracks (frame, vertex, 3)` in the
    figure's own frame, metres, so that `reference.cameras` of the rendered clip project them; `faces (face,
    3)`, outward by the right-hand rule; `weights (vertex, part)`, by which each part carries a vertex, and
    `part_names` of their labels."""

    vertices: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]
    tracks: Float[np.ndarray, "frame vertex 3"]
    weights: Float[np.ndarray, "vertex part"]
    part_names: tuple[str, ...]


def distances(body: Body, frame: int, points):
    """`(part, point)` signed distances of `points (point, 3)` to the parts at one frame: exact in sign, and
    no larger than the true ones in size."""
    linear, origin = body.linear[frame], body.origin[frame]
    q = np.einsum("kij,kpj->kpi", np.linalg.inv(linear), points[None] - origin[:, None])
    least = np.linalg.svd(linear, compute_uv=False)[:, -1:]
    length, a, b = (body.size[:, i, None] for i in range(3))
    rho = np.hypot(q[..., 0], q[..., 1])
    # In the plane through the axis the outline is a segment between two circles, tilted by the angle of the cone.
    sine = (a - b) / np.maximum(length, 1e-12)
    cosine = np.sqrt(np.maximum(1 - sine**2, 0))
    s = np.clip((q[..., 2] * cosine - rho * sine) / np.maximum(length * cosine, 1e-12), 0, 1)
    cone = np.hypot(rho, q[..., 2] - s * length) - (a + s * (b - a))
    box = np.abs(q) - 1
    box = np.linalg.norm(np.maximum(box, 0), axis=-1) + np.minimum(box.max(-1), 0)
    return least * np.where(np.array(body.box)[:, None], box, cone)


# A cube of corners 0..7 (bits x, y, z) as six tetrahedra around its diagonal: neighbours agree on their faces.
_TETRAHEDRA = np.array([(0, 1, 3, 7), (0, 3, 2, 7), (0, 2, 6, 7), (0, 6, 4, 7), (0, 4, 5, 7), (0, 5, 1, 7)])


def march(values, points):
    """Vertices and faces of the surface where `values (x, y, z)` at grid `points (x, y, z, 3)` pass through 0.

    Outside is positive, and must be all of the grid's border. Closed, manifold, oriented outward.
    """
    shape = values.shape
    index = np.arange(values.size).reshape(shape)
    corner = np.stack(
        [
            index[dx : shape[0] - 1 + dx, dy : shape[1] - 1 + dy, dz : shape[2] - 1 + dz].ravel()
            for dz in (0, 1)
            for dy in (0, 1)
            for dx in (0, 1)
        ],
        1,
    )
    value, place = values.ravel(), points.reshape(-1, 3)
    inside = value < 0
    mixed = inside[corner].any(1) & ~inside[corner].all(1)
    tetrahedra = corner[mixed][:, _TETRAHEDRA].reshape(-1, 4)
    # Corners inside come first.
    order = np.argsort(~inside[tetrahedra], axis=1, kind="stable")
    tetrahedra = np.take_along_axis(tetrahedra, order, 1)
    count = inside[tetrahedra].sum(1)
    one, two, three = (tetrahedra[count == n] for n in (1, 2, 3))
    edge = lambda t, pairs: np.stack([np.stack([t[:, i], t[:, j]], -1) for i, j in pairs], 1)
    triangles = np.concatenate(
        [
            edge(one, ((0, 1), (0, 2), (0, 3))),
            edge(three, ((0, 3), (1, 3), (2, 3))),
            edge(two, ((0, 2), (0, 3), (1, 3))),
            edge(two, ((0, 2), (1, 3), (1, 2))),
        ]
    )  # (triangle, corner, two grid points: inside, outside)
    keys, faces = np.unique(triangles.reshape(-1, 2), axis=0, return_inverse=True)
    faces = faces.reshape(-1, 3)
    low, high = value[keys[:, 0]], value[keys[:, 1]]
    share = (low / (low - high))[:, None]
    vertices = place[keys[:, 0]] * (1 - share) + place[keys[:, 1]] * share
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    out = place[triangles[..., 1]].mean(1) - place[triangles[..., 0]].mean(1)
    turned = (np.cross(b - a, c - a) * out).sum(-1) < 0
    faces[turned] = faces[turned][:, ::-1]
    return vertices, faces


def _largest(vertices, faces):
    """The connected part with most vertices."""
    label = np.arange(len(vertices))
    while True:
        least = label[faces].min(1)
        before = label.copy()
        for i in range(3):
            np.minimum.at(label, faces[:, i], least)
        label = label[label]
        if (label == before).all():
            break
    keep = label == np.bincount(label).argmax()
    new = np.cumsum(keep) - 1
    return vertices[keep], new[faces[keep[faces[:, 0]]]]


def figure_mesh(
    config: RenderedFigures, clip: int = 0, *, cells: int = 56, blend: float = 0.02
) -> FigureMesh:
    """The mesh of the figure of one clip of `render_figures(config)`, and its motion.

    `cells`: of the grid along the figure's longest side; what is thinner than a cell may be lost, and of
    several pieces the largest is kept. `blend`: in figure sizes, the width over which a vertex between two
    parts is carried by both, with weights `exp(-distance / blend)`; 0 leaves each vertex on one part,
    exactly on the surface that is drawn.

    Raises InputError for a clip that is not there.
    """
    if not 0 <= clip < config.images // config.clip:
        raise InputError(f"clip={clip}: there are {config.images // config.clip}")
    if cells < 8 or blend < 0:
        raise InputError(f"cells={cells}, blend={blend}: give at least 8 cells, and a blend of at least 0")
    body = subject(config, clip, apart=True)[1]
    ends = body.origin[0] + body.linear[0][:, :, 2] * body.size[:, :1]
    reach = np.where(body.box, np.sqrt(3), body.size[:, 1:].max(1))
    stretch = np.linalg.norm(body.linear[0], axis=2) * reach[:, None]
    low = np.minimum(body.origin[0] - stretch, ends - stretch).min(0)
    high = np.maximum(body.origin[0] + stretch, ends + stretch).max(0)
    step = (high - low).max() / cells
    axes = [np.arange(a - 1.5 * step, b + 2.5 * step, step) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    flat = grid.reshape(-1, 3)
    of = lambda x: distances(body, 0, x).min(0)
    values = np.concatenate([of(x) for x in np.array_split(flat, max(1, len(flat) // 20000))])
    # No vertex next to a grid point: no triangle of hardly any area. They are put on the surface below.
    values = np.where(np.abs(values) < 0.2 * step, np.where(values < 0, -0.2, 0.2) * step, values)
    vertices, faces = _largest(*march(values.reshape(grid.shape[:3]), grid))
    h = 1e-3 * step
    for _ in range(4):
        value = of(vertices)
        slope = np.stack([(of(vertices + h * e) - of(vertices - h * e)) / (2 * h) for e in np.eye(3)], 1)
        move = value[:, None] * slope / np.maximum((slope**2).sum(1, keepdims=True), 1e-3)
        size = np.linalg.norm(move, axis=1, keepdims=True)
        vertices = vertices - move * np.minimum(1, 0.3 * step / np.maximum(size, 1e-12))
    gap = distances(body, 0, vertices)
    gap -= gap.min(0)
    span = float(np.linalg.norm(high - low))
    weights = np.exp(-gap / (blend * span)) if blend else (gap == 0).astype(float)
    weights = (weights / weights.sum(0)).T
    local = np.einsum("kij,kvj->kvi", np.linalg.inv(body.linear[0]), vertices[None] - body.origin[0][:, None])
    tracks = np.stack(
        [
            np.einsum("vk,kvi->vi", weights, np.einsum("kij,kvj->kvi", m, local) + o[:, None])
            for m, o in zip(body.linear[1:], body.origin[1:], strict=True)
        ]
    )
    return FigureMesh(
        vertices=vertices,
        faces=faces.astype(np.int32),
        tracks=tracks,
        weights=weights,
        part_names=body.labels,
    )
