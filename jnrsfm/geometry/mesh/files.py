"""Templates from files: OBJ, PLY, GLB, STL, OFF through trimesh (the extra `mesh`), npz without; keypoints beside."""

from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm.config import read_yaml
from jnrsfm.errors import InputError
from jnrsfm.geometry.mesh.record import MOST_VERTICES, TriangleMesh, check_mesh

SUFFIXES = (".obj", ".ply", ".glb", ".gltf", ".stl", ".off")
MOST_BYTES = 200_000_000


def read_mesh(path: str | Path, keypoints: str | Path | None = None) -> TriangleMesh:
    """A template mesh, checked (`check_mesh`). Raises InputError, one line.

    OBJ, PLY, GLB, STL and OFF are read by trimesh; vertices that lie in exactly one place are joined (seams of
    textures). An npz has `vertices`, `faces`, and optionally `keypoint_vertices` and `names`. `keypoints`: a YAML file
    of lines `name: vertex number` (numbers from 0, as the file lists its vertices).
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{path}: no such file: name the template, a mesh ({', '.join(SUFFIXES)}, .npz)")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(
            f"{path}: has {path.stat().st_size // 10**6} MB: decimate it to {MOST_VERTICES} vertices"
        )
    if path.suffix.lower() == ".npz":
        mesh, renamed = _of_npz(path), None
    elif path.suffix.lower() in SUFFIXES:
        mesh, renamed = _of_trimesh(path)
    else:
        raise InputError(f"{path}: is no mesh: give one of {', '.join(SUFFIXES)}, .npz")
    if keypoints is not None:
        mesh = _with_keypoints(mesh, Path(keypoints).expanduser(), renamed)
    check_mesh(mesh, path)
    return mesh


def _of_npz(path: Path) -> TriangleMesh:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {n: file[n] for n in file.files}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as npz ({error}): write it again") from error
    for key in ("vertices", "faces"):
        if key not in arrays:
            raise InputError(
                f"{path}: has no key {key!r}: a mesh has vertices (vertex, 3) and faces (face, 3)"
            )
    points = arrays.get("keypoint_vertices")
    names = arrays.get("names") if points is not None else None
    return TriangleMesh(
        np.asarray(arrays["vertices"], np.float32), np.asarray(arrays["faces"], np.int32),
        None if points is None else np.asarray(points, np.int32),
        None if names is None else tuple(str(n) for n in names),
    )  # fmt: skip


def _of_trimesh(path: Path) -> tuple[TriangleMesh, np.ndarray]:
    """The mesh, and the new number of each vertex of the file."""
    try:
        import trimesh
    except ImportError as error:
        raise InputError("meshes need trimesh, which is not installed: pip install 'jnrsfm[mesh]'") from error
    try:
        loaded: Any = trimesh.load(path, force="mesh", process=False)
        vertices, faces = np.asarray(loaded.vertices, np.float64), np.asarray(loaded.faces, np.int64)
    except Exception as error:  # trimesh's loaders raise of every kind for damaged files
        raise InputError(f"{path}: cannot be read as a mesh ({error}): export it again") from error
    if not len(faces):
        raise InputError(f"{path}: holds no triangles: export the mesh, triangulated")
    _, first, new = np.unique(vertices, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))  # in the order in which the file has them
    new = order[new.reshape(-1)]
    kept = vertices[np.sort(first)]
    return TriangleMesh(kept.astype(np.float32), new[faces].astype(np.int32)), new


def _with_keypoints(mesh: TriangleMesh, path: Path, renamed: np.ndarray | None) -> TriangleMesh:
    plain = read_yaml(path)
    names, numbers = tuple(str(k) for k in plain), list(plain.values())
    most = len(mesh.vertices) if renamed is None else len(renamed)
    for name, number in zip(names, numbers, strict=True):
        if not isinstance(number, int) or not 0 <= number < most:
            raise InputError(f"{path}: {name}: {number!r}: give the number of a vertex, from 0 to {most - 1}")
    points = np.array(numbers, np.int32)
    points = points if renamed is None else renamed[points].astype(np.int32)
    return TriangleMesh(mesh.vertices, mesh.faces, points, names)
