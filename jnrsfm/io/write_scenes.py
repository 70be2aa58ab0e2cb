"""Writers of motion for animation and biomechanics: C3D, BVH, GLB."""

import json
import struct
from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.exporting import Export, Writer, register_writer
from jnrsfm.runs import write_file


def write_c3d(path: Path, export: Export) -> None:
    """C3D by ezc3d (the extra `c3d`): y up, NaN for missing, the uncertainty as residual. Raises InputError without
    it."""
    try:
        import ezc3d
    except ImportError as error:
        raise InputError(f"{path}: C3D files need ezc3d: pip install ezc3d") from error
    points = export.y_up
    out = ezc3d.c3d()
    about = out["parameters"]["POINT"]
    about["RATE"]["value"] = [float(export.fps)]
    about["LABELS"]["value"] = tuple(export.names)
    about["UNITS"]["value"] = ("m",)
    data = np.full((4, points.shape[1], len(points)), np.nan)
    data[:3] = points.transpose(2, 1, 0)
    data[3] = np.where(np.isnan(data[0]), np.nan, 1.0)
    out["data"]["points"] = data
    spread = np.zeros_like(export.confidence) if export.uncertainty is None else export.uncertainty
    known = np.isfinite(points).all(-1)
    out["data"]["meta_points"]["residuals"] = np.where(known, spread, -1.0).T[None]
    out["data"]["meta_points"]["camera_masks"] = np.zeros((7, points.shape[1], len(points)), bool)
    beside = path.with_name(f".{path.stem}.writing.c3d")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist: create it first")
    try:
        out.write(str(beside))
        write_file(path, beside.read_bytes())
    finally:
        beside.unlink(missing_ok=True)


def tree_of(n_points: int, edges: np.ndarray | None, points: np.ndarray) -> tuple[list[int], list[int]]:
    """Points in an order in which parents come first, and the parent of each (-1 for the root, by point number).

    The root of a component is its point with the most edges, the one nearest the middle among equals; edges that would
    close a ring are left out. The first component's root is the root; those of others hang on it.
    """
    around: list[list[int]] = [[] for _ in range(n_points)]
    for a, b in [] if edges is None else np.asarray(edges).tolist():
        around[a].append(b)
        around[b].append(a)
    with np.errstate(invalid="ignore"):
        middle = np.nanmedian(points, axis=(0, 1)) if np.isfinite(points).any() else np.zeros(3)
        far = np.nan_to_num(np.nanmedian(np.linalg.norm(points - middle, axis=-1), axis=0), nan=1e18)
    order: list[int] = []
    parent = [-2] * n_points
    left = sorted(range(n_points), key=lambda p: (-len(around[p]), far[p]))
    for root in left:
        if parent[root] != -2:
            continue
        parent[root] = order[0] if order else -1
        queue = [root]
        while queue:
            p = queue.pop(0)
            order.append(p)
            for q in around[p]:
                if parent[q] == -2:
                    parent[q] = p
                    queue.append(q)
    return order, parent


def _filled(points: np.ndarray) -> np.ndarray:
    """Gaps bridged in time (nearest at the ends), so that every joint has a place in every frame."""
    out = points.copy()
    t = np.arange(len(points))
    for p in range(points.shape[1]):
        known = np.isfinite(points[:, p]).all(-1)
        for axis in range(3):
            out[:, p, axis] = np.interp(t, t[known], points[known, p, axis]) if known.any() else 0.0
    return out


def bone_rotations(points: np.ndarray, order: list[int], parent: list[int]):
    """Offsets `(point, 3)` of joints from their parents at rest, local rotations `(frame, point, 3, 3)`, and those of
    the bones of joints that branch, `{child: (frame, 3, 3)}`.

    Rest is the frame whose bones are nearest their median lengths, its bones brought to these lengths. The rotation of
    a joint carries the rest directions of its bones nearest to those of the frame: the smallest turn with one bone;
    with several the proper rotation of Kabsch, after which each bone turns by the rest. An end keeps its parent's.
    """
    n, frames = points.shape[1], len(points)
    bones = {p: points[:, p] - points[:, parent[p]] for p in order if parent[p] >= 0}
    length = {p: np.linalg.norm(b, axis=-1) for p, b in bones.items()}
    usual = {p: float(np.median(v)) for p, v in length.items()}
    gap = np.sum([np.abs(length[p] - usual[p]) for p in bones], axis=0) if bones else np.zeros(frames)
    rest = int(np.argmin(gap))
    offsets = np.zeros((n, 3))
    for p, b in bones.items():
        offsets[p] = b[rest] * usual[p] / max(length[p][rest], 1e-12)
    children: list[list[int]] = [[q for q in order if parent[q] == p] for p in range(n)]
    identity = np.tile(np.eye(3), (frames, 1, 1))
    above = {order[0]: identity}
    local = np.tile(np.eye(3), (frames, n, 1, 1))
    branch: dict[int, np.ndarray] = {}
    for p in order:
        world = above[p]
        below = children[p]
        if below:
            before = np.einsum("fij,kj->fki", world, np.stack([offsets[q] for q in below]))
            world = _turn(before, np.stack([bones[q] for q in below], 1)) @ world
        local[:, p] = np.swapaxes(above[p], 1, 2) @ world
        for q in below:
            above[q] = world
            if len(below) > 1:
                rest_way = np.einsum("fij,j->fi", world, offsets[q])[:, None]
                above[q] = _turn(rest_way, bones[q][:, None]) @ world
                branch[q] = np.swapaxes(world, 1, 2) @ above[q]
    return offsets, local, branch


def _turn(before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """`(frame, 3, 3)` proper rotations that carry the rows of `before (frame, bone, 3)` nearest to those of `now`."""
    unit = lambda v: v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)
    a, b = unit(before), unit(now)
    if a.shape[1] == 1:
        a, b = a[:, 0], b[:, 0]
        axis = np.cross(a, b)
        cosine = (a * b).sum(-1)
        skew = np.zeros((len(a), 3, 3))
        skew[:, 0, 1], skew[:, 0, 2], skew[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
        skew -= np.swapaxes(skew, 1, 2)
        out = np.eye(3) + skew + skew @ skew / np.maximum(1 + cosine, 1e-9)[:, None, None]
        back = cosine < -1 + 1e-9  # half a turn about anything square to it
        if back.any():
            other = np.eye(3)[np.argmin(np.abs(a[back]), axis=-1)]
            square = unit(np.cross(a[back], other))
            out[back] = 2 * square[:, :, None] * square[:, None, :] - np.eye(3)
        return out
    u, _, vt = np.linalg.svd(np.einsum("fki,fkj->fij", b, a))
    sign = np.sign(np.linalg.det(u @ vt))
    u[:, :, 2] *= np.where(sign == 0, 1, sign)[:, None]
    return u @ vt


def _euler(r: np.ndarray) -> np.ndarray:
    """`(..., 3)` degrees (z, x, y) with `R = Rz @ Rx @ Ry`."""
    x = np.arcsin(np.clip(r[..., 2, 1], -1, 1))
    z = np.arctan2(-r[..., 0, 1], r[..., 1, 1])
    y = np.arctan2(-r[..., 2, 0], r[..., 2, 2])
    return np.rad2deg(np.stack([z, x, y], -1))


def write_bvh(path: Path, export: Export) -> None:
    """BVH: y up, bones of constant length (their median), joint rotations by aligned bone frames, gaps bridged in time.

    Joints are the points; where several bones meet, each has a joint of its own at the same place (`hip_to_knee`),
    since a BVH turns all bones of a joint alike. Positions differ from the result by what its bones stretch. Raises
    InputError without edges: a BVH needs a tree.
    """
    if export.edges is None or not len(export.edges):
        raise InputError(f"{path}: BVH needs a skeleton: give --skeleton NAME, or edges in the file")
    points = _filled(export.y_up)
    order, parent = tree_of(points.shape[1], export.edges, points)
    offsets, local, branch = bone_rotations(points, order, parent)
    linked = {tuple(sorted(e)) for e in np.asarray(export.edges).tolist()}
    names = [name.replace(" ", "_") for name in export.names]
    lines = ["HIERARCHY"]
    columns: list[np.ndarray] = []

    def joint(
        name: str, offset: np.ndarray, place: np.ndarray | None, turn: np.ndarray, p: int, below, depth: int
    ):
        tab = "\t" * depth
        lines.append(f"{tab}{'JOINT' if depth else 'ROOT'} {name}")
        lines.append(f"{tab}{{")
        lines.append(f"{tab}\tOFFSET {offset[0]:.6f} {offset[1]:.6f} {offset[2]:.6f}")
        channels = "" if place is None else "Xposition Yposition Zposition "
        lines.append(f"{tab}\tCHANNELS {3 if place is None else 6} {channels}Zrotation Xrotation Yrotation")
        columns.extend([] if place is None else [place])
        columns.append(_euler(turn))
        for q in below:
            child(q, p, depth + 1)
        if not below:
            lines.extend([f"{tab}\tEnd Site", f"{tab}\t{{", f"{tab}\t\tOFFSET 0.0 0.0 0.0", f"{tab}\t}}"])
        lines.append(f"{tab}}}")

    def child(q: int, p: int, depth: int) -> None:
        below = [k for k in order if parent[k] == q]
        if tuple(sorted((p, q))) not in linked:  # hangs on the root, and has a place of its own
            turn = branch[q] @ local[:, q] if q in branch else local[:, q]
            frames[q] = frames[p] @ turn
            joint(names[q], np.zeros(3), _within(points, q, p, frames[p]), turn, q, below, depth)
        elif q in branch:
            frames[q] = frames[p] @ branch[q] @ local[:, q]
            tab = "\t" * depth
            lines.extend([f"{tab}JOINT {names[p]}_to_{names[q]}", f"{tab}{{", f"{tab}\tOFFSET 0.0 0.0 0.0"])
            lines.append(f"{tab}\tCHANNELS 3 Zrotation Xrotation Yrotation")
            columns.append(_euler(branch[q]))
            joint(names[q], offsets[q], None, local[:, q], q, below, depth + 1)
            lines.append(f"{tab}}}")
        else:
            frames[q] = frames[p] @ local[:, q]
            joint(names[q], offsets[q], None, local[:, q], q, below, depth)

    root = order[0]
    frames: dict[int, np.ndarray] = {root: local[:, root]}
    joint(
        names[root],
        np.zeros(3),
        points[:, root],
        local[:, root],
        root,
        [k for k in order if parent[k] == root],
        0,
    )
    motion = np.concatenate(columns, 1)
    lines += ["MOTION", f"Frames: {len(points)}", f"Frame Time: {1 / export.fps:.8f}"]
    lines += [" ".join(f"{v:.6f}" for v in row) for row in motion]
    write_file(path, "\n".join(lines) + "\n")


def _within(points: np.ndarray, q: int, p: int, frame: np.ndarray) -> np.ndarray:
    """Where a point is in the frame of a joint."""
    return np.einsum("fji,fj->fi", frame, points[:, q] - points[:, p])


def write_glb(path: Path, export: Export) -> None:
    """glTF binary: a small ball a point and a rod an edge, moving; y up. Blender, three.js and phones open it.

    Points without a place in a frame shrink to nothing there. Sizes: a ball is 2 % of the figure.
    """
    points = export.y_up
    known = np.isfinite(points).all(-1)
    if not known.any():
        raise InputError(f"{path}: there is not one point to show")
    filled = _filled(points)
    spread = np.nanmedian(np.linalg.norm(points - np.nanmean(points, axis=1, keepdims=True), axis=-1))
    ball = 0.04 * float(spread) if spread > 0 else 1.0
    builder = _Glb(np.arange(len(points)) / export.fps)
    edges = [] if export.edges is None else np.asarray(export.edges).tolist()
    sphere = builder.mesh(*_ball())
    rod = builder.mesh(*_rod()) if edges else -1  # a mesh that nothing uses is one too many
    for p, name in enumerate(export.names):
        scale = np.where(known[:, p], ball, 0.0)[:, None] * np.ones(3)
        builder.node(name, sphere, filled[:, p], None, scale)
    for a, b in edges:
        way = filled[:, b] - filled[:, a]
        length = np.linalg.norm(way, axis=-1)
        both = known[:, a] & known[:, b]
        scale = np.stack([0.4 * ball * both, length * both, 0.4 * ball * both], -1)
        up = np.tile([[[0.0, 1.0, 0.0]]], (len(points), 1, 1))
        builder.node(
            f"{export.names[a]}-{export.names[b]}",
            rod,
            filled[:, a],
            _quaternion(_turn(up, way[:, None])),
            scale,
        )
    write_file(path, builder.bytes())


def _quaternion(r: np.ndarray) -> np.ndarray:
    """`(frame, 4)` x, y, z, w of rotations."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_matrix(r).as_quat()


def _ball() -> tuple[np.ndarray, np.ndarray]:
    """An icosahedron of radius 1."""
    g = (1 + 5**0.5) / 2
    v = np.array([[-1, g, 0], [1, g, 0], [-1, -g, 0], [1, -g, 0], [0, -1, g], [0, 1, g], [0, -1, -g], [0, 1, -g],
                  [g, 0, -1], [g, 0, 1], [-g, 0, -1], [-g, 0, 1]])  # fmt: skip
    t = np.array([[0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11], [1, 5, 9], [5, 11, 4], [11, 10, 2],
                  [10, 7, 6], [7, 1, 8], [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8], [3, 8, 9], [4, 9, 5], [2, 4, 11],
                  [6, 2, 10], [8, 6, 7], [9, 8, 1]])  # fmt: skip
    return v / np.linalg.norm(v, axis=1, keepdims=True), t


def _rod(sides: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """A prism from y = 0 to y = 1 of radius 1."""
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], -1)
    v = np.concatenate([ring, ring + np.array([0, 1, 0])])
    k = np.arange(sides)
    n = (k + 1) % sides
    return v, np.concatenate([np.stack([k, k + sides, n], -1), np.stack([n, k + sides, n + sides], -1)])


class _Glb:
    """A glTF file under construction: one buffer, accessors, nodes that move."""

    def __init__(self, times: np.ndarray):
        self._data = bytearray()
        self._json: dict[str, list] = {k: [] for k in ("bufferViews", "accessors", "meshes", "nodes")}
        self._samplers: list[dict] = []
        self._channels: list[dict] = []
        self._times = self._add(times.astype("<f4")[:, None], "SCALAR", bounds=True)

    def _add(self, array: np.ndarray, kind: str, bounds: bool = False, target: int | None = None) -> int:
        """An accessor of an array, four-byte aligned."""
        code = {"<f4": 5126, "<u2": 5123}[array.dtype.str]
        view: dict = {"buffer": 0, "byteOffset": len(self._data), "byteLength": array.nbytes}
        if target is not None:
            view["target"] = target
        self._data += array.tobytes() + b"\0" * (-array.nbytes % 4)
        self._json["bufferViews"].append(view)
        accessor = {"bufferView": len(self._json["bufferViews"]) - 1, "componentType": code, "type": kind,
                    "count": array.size if kind == "SCALAR" else len(array)}  # fmt: skip
        if bounds:
            accessor |= {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
        self._json["accessors"].append(accessor)
        return len(self._json["accessors"]) - 1

    def mesh(self, vertices: np.ndarray, triangles: np.ndarray) -> int:
        """A mesh with outward normals."""
        place = self._add(vertices.astype("<f4"), "VEC3", bounds=True, target=34962)
        corners = self._add(triangles.astype("<u2").reshape(-1, 1), "SCALAR", target=34963)
        self._json["meshes"].append({"primitives": [{"attributes": {"POSITION": place}, "indices": corners}]})
        return len(self._json["meshes"]) - 1

    def node(
        self, name: str, mesh: int, place: np.ndarray, turn: np.ndarray | None, scale: np.ndarray
    ) -> None:
        """A node that moves: `place (frame, 3)`, `turn (frame, 4)`, `scale (frame, 3)`."""
        node = {"name": name, "mesh": mesh, "translation": place[0].tolist(), "scale": scale[0].tolist()}
        moves = [("translation", place, "VEC3"), ("scale", scale, "VEC3")]
        if turn is not None:
            turn = turn * np.where((turn[:, 3:] < 0), -1, 1)
            node["rotation"] = turn[0].tolist()
            moves.append(("rotation", turn, "VEC4"))
        self._json["nodes"].append(node)
        for path, values, kind in moves:
            if np.ptp(values, axis=0).max(initial=0) == 0:
                continue
            output = self._add(values.astype("<f4"), kind)
            self._channels.append({"sampler": len(self._samplers), "target": {"node": len(self._json["nodes"]) - 1,
                                                                             "path": path}})  # fmt: skip
            step = "STEP" if path == "scale" else "LINEAR"
            self._samplers.append({"input": self._times, "output": output, "interpolation": step})

    def bytes(self, scene: list[int] | None = None) -> bytes:
        """The file: header, JSON chunk, binary chunk. `scene`: its root nodes; all nodes where it is None."""
        roots = list(range(len(self._json["nodes"]))) if scene is None else scene
        content: dict = {
            "asset": {"version": "2.0", "generator": "jnrsfm"}, "scene": 0,
            "scenes": [{"nodes": roots}], "buffers": [{"byteLength": len(self._data)}],
            **self._json,
        }  # fmt: skip
        if self._channels:
            content["animations"] = [
                {"name": "motion", "channels": self._channels, "samplers": self._samplers}
            ]
        text = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + len(self._data)
        return (
            struct.pack("<4sII", b"glTF", 2, total) + struct.pack("<I4s", len(text), b"JSON") + text
            + struct.pack("<I4s", len(self._data), b"BIN\0") + bytes(self._data)
        )  # fmt: skip


register_writer(Writer("c3d", (".c3d",), "C3D (motion capture; needs ezc3d)", write_c3d))
register_writer(Writer("bvh", (".bvh",), "BVH (animation)", write_bvh))
register_writer(Writer("glb", (".glb",), "GLB, an animated skeleton (Blender, browsers)", write_glb))
