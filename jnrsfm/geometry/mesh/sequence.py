"""`MeshSequence`: a mesh in motion, the result of methods that deform a template."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jnrsfm.types import Array, Cameras, Reconstruction, Result, _pytree


@_pytree(meta=("names", "mirror", "gauge", "fps"))
class MeshSequence(Result):
    """One mesh a frame, with its camera.

    `vertices (frame, vertex, 3)` in the object frame, `faces (face, 3)`, `cameras` (see `Cameras`; images are pixels).
    `rest (vertex, 3)`: the template. `handles (frame, handle, 3)`: positions of the handles, and `basis (vertex,
    handle)`, by which their displacement from `rest_handles (handle, 3)` moves the mesh, `vertices = rest + basis @
    (handles - rest_handles)`. `colours (vertex, 3)` in [0, 1], the texture. `keypoints (point,)`: vertices of named
    points, `names`. `iou (frame,)`: overlap of the silhouette with the mask, NaN where there is none. `score (frame,)`:
    distance in pixels of the keypoints from their labels, NaN where there are none. `known (frame,)`: the frame had a
    mask or labels; others are interpolated, or what a network says. `sequence`, `frame_index`, `mirror`, `gauge` as in
    `Reconstruction`.
    """

    vertices: Float[Array, "frame vertex 3"]
    faces: Int[Array, "face 3"]
    cameras: Cameras
    rest: Float[Array, "vertex 3"]
    handles: Float[Array, "frame handle 3"]
    rest_handles: Float[Array, "handle 3"]
    basis: Float[Array, "vertex handle"]
    colours: Float[Array, "vertex 3"] | None = None
    keypoints: Int[Array, " point"] | None = None
    iou: Float[Array, " frame"] | None = None
    score: Float[Array, " frame"] | None = None
    known: Bool[Array, " frame"] | None = None
    sequence: Int[Array, " frame"] | None = None
    frame_index: Int[Array, " frame"] | None = None
    names: tuple[str, ...] | None = None
    mirror: str = "none"
    gauge: str = ""
    fps: float | None = None

    _per_frame = ("vertices", "cameras", "handles", "iou", "score", "known", "sequence", "frame_index")

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.vertices.shape[0]

    @property
    def n_points(self) -> int:
        """Number of keypoints."""
        return 0 if self.keypoints is None else len(self.keypoints)

    @property
    def camera_vertices(self):
        """`(frame, vertex, 3)` vertices in the frame of each camera: x and y are pixels of the image."""
        return self.cameras.transform(self.vertices)

    @property
    def points2d(self):
        """`(frame, point, 2)` keypoints in the image."""
        points = self._keypoints
        return self.cameras.project(jnp.asarray(self.vertices)[:, points])

    @property
    def _keypoints(self) -> np.ndarray:
        return np.zeros(0, np.int32) if self.keypoints is None else np.asarray(self.keypoints)

    @property
    def points(self) -> Reconstruction:
        """The keypoints as a reconstruction of points."""
        return Reconstruction(
            points3d=np.asarray(self.vertices)[:, self._keypoints], cameras=self.cameras, sequence=self.sequence,
            names=self.names, mirror=self.mirror, gauge=self.gauge, frame_index=self.frame_index,
        )  # fmt: skip

    def moved(self, handles: Any) -> "MeshSequence":
        """With other handle positions `(frame, handle, 3)`: the mesh follows them."""
        handles = jnp.asarray(handles)
        delta = handles - jnp.asarray(self.rest_handles)
        vertices = jnp.asarray(self.rest) + jnp.einsum("vk,fkj->fvj", jnp.asarray(self.basis), delta)
        return self.replace(handles=handles, vertices=vertices)

    @property
    def resolved(self) -> dict[str, Any]:
        """`camera`; `scale`, how it was fixed; `reflection`: the template says which side is near."""
        return {
            "camera": self.cameras.model, "scale": self.gauge or "not stated", "reflection": self.mirror,
            "reflection_margin": None,
        }  # fmt: skip
