"""`meshes.npz`: a `MeshSequence`, key by key; and the same as a GLB that moves and as OBJ files.

In the GLB the mesh has three morph targets for each handle, one an axis, and a frame is their weights: the file holds
the motion exactly, and in Blender each handle is three sliders (shape keys). The node turns, moves and grows as
the camera saw it (x right, y up, z towards the camera; the unit is that of the template). Handles are empty nodes under
it, at their places.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.geometry.mesh.sequence import MeshSequence
from jnrsfm.io.write_scenes import _Glb, _quaternion
from jnrsfm.runs import write_arrays, write_file
from jnrsfm.types import Cameras

_FIELDS = (
    "vertices", "faces", "rest", "handles", "rest_handles", "basis", "colours", "keypoints", "iou", "score", "known",
    "sequence", "frame_index",
)  # fmt: skip
_CAMERA = ("rotations", "translations", "scale")


def write_meshes(path: Any, result: MeshSequence) -> None:
    """Write a mesh sequence as npz, whole or not at all. Raises InputError where it holds what is not finite."""
    arrays = {n: np.asarray(v) for n in _FIELDS if (v := getattr(result, n)) is not None}
    arrays |= {n: np.asarray(v) for n in _CAMERA if (v := getattr(result.cameras, n)) is not None}
    for name in ("vertices", "handles", *_CAMERA):
        if name in arrays and not np.isfinite(arrays[name]).all():
            raise InputError(f"{path}: not written: {name} is not finite")
    about = {
        "camera": result.cameras.model,
        "mirror": result.mirror,
        "gauge": result.gauge,
        "fps": result.fps,
    }
    about["names"] = result.names  # type: ignore[assignment]
    write_arrays(path, {**arrays, "about": np.array(json.dumps(about))})


def read_meshes(path: Any) -> MeshSequence:
    """Read what `write_meshes` wrote. Raises InputError for what is no such file."""
    path = Path(path).expanduser()
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {n: file[n] for n in file.files}
        about = json.loads(str(arrays["about"]))
        camera = {n: arrays[n] for n in _CAMERA if n in arrays}
        return MeshSequence(
            **{n: arrays[n] for n in _FIELDS if n in arrays},
            cameras=Cameras(**camera, model=about["camera"]),
            names=None if about["names"] is None else tuple(about["names"]),
            mirror=about["mirror"],
            gauge=about["gauge"],
            fps=about["fps"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: holds no mesh sequence ({error}): name a run's meshes.npz") from error


def write_mesh_files(folder: Path, result: MeshSequence, stem: str = "meshes") -> list[Path]:
    """`meshes.glb` in a folder; one for each clip where there are several."""
    clips = np.zeros(result.n_frames, int) if result.sequence is None else np.asarray(result.sequence)
    numbers = list(dict.fromkeys(clips.tolist()))
    files = []
    for k, clip in enumerate(numbers):
        name = f"{stem}.glb" if len(numbers) == 1 else f"{stem}_{k}.glb"
        part = result.select(np.flatnonzero(clips == clip))
        files.append(write_file(folder / name, mesh_glb(part)))
    return files


def write_obj_frames(folder: str | Path, result: MeshSequence) -> list[Path]:
    """One OBJ for each frame, `frame_0000.obj`, vertices in the object frame, colours behind them."""
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    colours = None if result.colours is None else np.asarray(result.colours)
    faces = "".join("f {} {} {}\n".format(*f) for f in (np.asarray(result.faces) + 1).tolist())
    files = []
    for i, vertices in enumerate(np.asarray(result.vertices)):
        rows = vertices if colours is None else np.concatenate([vertices, colours], 1)
        lines = "".join("v " + " ".join(f"{x:.6g}" for x in row) + "\n" for row in rows)
        files.append(write_file(folder / f"frame_{i:04d}.obj", lines + faces))
    return files


class _MeshGlb(_Glb):
    """A GLB with a mesh whose morph targets move."""

    def targets(self, result: MeshSequence) -> int:
        """The mesh with its targets; returns its number."""
        rest, basis = np.asarray(result.rest), np.asarray(result.basis)
        attributes = {"POSITION": self._add(rest.astype("<f4"), "VEC3", bounds=True, target=34962)}
        if result.colours is not None:
            attributes["COLOR_0"] = self._add(np.asarray(result.colours).astype("<f4"), "VEC3", target=34962)
        corners = self._add(np.asarray(result.faces).astype("<u2").reshape(-1, 1), "SCALAR", target=34963)
        count = basis.shape[1]
        moves, names = [], []
        for k in range(count):
            for axis in range(3):
                move = np.zeros_like(rest)
                move[:, axis] = basis[:, k]
                moves.append({"POSITION": self._add(move.astype("<f4"), "VEC3", bounds=True, target=34962)})
                names.append(f"handle {k} {'xyz'[axis]}")
        part = {"attributes": attributes, "indices": corners, "targets": moves}
        self._json["meshes"].append(
            {"primitives": [part], "weights": [0.0] * 3 * count, "extras": {"targetNames": names}}
        )
        return len(self._json["meshes"]) - 1

    def moving(self, node: int, path: str, values: np.ndarray, kind: str) -> None:
        """A channel of the animation: `values (frame, ...)`."""
        output = self._add(values.astype("<f4"), kind)
        self._channels.append({"sampler": len(self._samplers), "target": {"node": node, "path": path}})
        self._samplers.append({"input": self._times, "output": output, "interpolation": "LINEAR"})

    def add_node(self, node: dict[str, Any]) -> int:
        """A node; returns its number."""
        self._json["nodes"].append(node)
        return len(self._json["nodes"]) - 1


def mesh_glb(result: MeshSequence) -> bytes:
    """The sequence, one clip, as glTF binary: see the module."""
    fps = result.fps or 24.0
    glb = _MeshGlb(np.arange(result.n_frames) / fps)
    mesh = glb.targets(result)
    turn = np.diag([1.0, -1.0, -1.0]) @ np.asarray(result.cameras.rotations, np.float64)
    q = _quaternion(turn)
    for f in range(1, len(q)):
        q[f] *= -1 if (q[f] * q[f - 1]).sum() < 0 else 1
    scale = (
        np.ones(result.n_frames)
        if result.cameras.scale is None
        else np.asarray(result.cameras.scale, np.float64)
    )
    usual = float(np.median(scale))
    place = np.asarray(result.cameras.translations, np.float64) / usual
    place = (place - np.median(place, 0)) * [1, -1, -1]
    grow = np.repeat((scale / usual)[:, None], 3, 1)
    handles = np.asarray(result.handles, np.float64)
    names = [f"handle {k}" for k in range(handles.shape[1])]
    children = [
        glb.add_node({"name": n, "translation": p}) for n, p in zip(names, handles[0].tolist(), strict=True)
    ]
    pose = {"translation": place[0].tolist(), "rotation": q[0].tolist(), "scale": grow[0].tolist()}
    root = glb.add_node({"name": "mesh", "mesh": mesh, "children": children, **pose})
    if result.n_frames > 1:
        moved = handles - np.asarray(result.rest_handles)
        glb.moving(root, "weights", moved.reshape(-1, 1), "SCALAR")
        glb.moving(root, "translation", place, "VEC3")
        glb.moving(root, "rotation", q, "VEC4")
        glb.moving(root, "scale", grow, "VEC3")
        for k, node in enumerate(children):
            glb.moving(node, "translation", handles[:, k], "VEC3")
    return glb.bytes(scene=[root])
