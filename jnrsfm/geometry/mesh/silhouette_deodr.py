"""The same silhouettes by DEODR, a rasteriser with anti-aliased edges, on CPU (the extra `mesh`).

One callback for a batch. A second opinion beside `silhouette.coverage`: each is tested against the other.
Source: de La Gorce, Fleet and Paragios, Model-based 3D hand pose estimation, TPAMI 33(9), 2011.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnrsfm.errors import InputError
from jnrsfm.geometry.mesh.silhouette import Outline


def _library() -> Any:
    try:
        from deodr.differentiable_renderer import Scene2D
    except ImportError as error:
        raise InputError(
            "silhouettes by DEODR need deodr, which is not installed: pip install 'jnrsfm[mesh]', or choose "
            "silhouette=scan"
        ) from error
    return Scene2D


class _Drawn:
    """Masks of projected meshes, and the derivative of sums over them."""

    def __init__(self, outline: Outline, size: tuple[int, int]):
        self.scene: Any = _library()
        self.faces, self.size = np.asarray(outline.faces, np.uint32), size
        n = len(outline.faces)
        neighbour = {}
        for (a, b), (one, two) in zip(
            np.asarray(outline.ends).tolist(), np.asarray(outline.beside).tolist(), strict=True
        ):
            neighbour[a, b], neighbour[b, a] = two, one
        self.across = np.array(
            [[neighbour[int(f[i]), int(f[(i + 1) % 3])] for i in range(3)] for f in self.faces]
        ).reshape(n, 3)

    def _scene(self, points: np.ndarray) -> Any:
        a, b, c = (points[self.faces[:, i]] for i in range(3))
        u, v = b - a, c - a
        front = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] < 0
        n, f = len(points), len(self.faces)
        return self.scene(
            faces=self.faces, faces_uv=self.faces, ij=np.ascontiguousarray(points, np.float64), depths=np.ones(n),
            textured=np.zeros(f, bool), uv=np.zeros((n, 2)), shade=np.zeros(n), colors=np.ones((n, 1)),
            shaded=np.zeros(f, bool), edgeflags=front[:, None] & ~front[self.across], height=self.size[0],
            width=self.size[1], nb_colors=1, texture=np.zeros((1, 1, 1)), background_color=np.zeros(1),
            backface_culling=True,
        )  # fmt: skip

    def forward(self, points: Any) -> np.ndarray:
        flat = np.asarray(points, np.float64)
        return np.stack([self._scene(p).render(1.0)[0][..., 0] for p in flat]).astype(np.float32)

    def backward(self, points: Any, cotangent: Any) -> np.ndarray:
        out = []
        for p, g in zip(np.asarray(points, np.float64), np.asarray(cotangent, np.float64), strict=True):
            scene = self._scene(p)
            scene.render(1.0)
            scene.clear_gradients()
            scene.render_backward(np.ascontiguousarray(g[..., None]))
            out.append(np.array(scene.ij_b))
        return np.stack(out).astype(np.float32)


def coverage_deodr(
    outline: Outline, points: Float[Array, "*batch vertex 2"], size: tuple[int, int]
) -> Float[Array, "*batch height width"]:
    """As `silhouette.coverage`, in float32 on the host. Raises InputError without `deodr`."""
    drawn = _Drawn(outline, size)
    batch, n = points.shape[:-2], points.shape[-2]

    @jax.custom_vjp
    def covered(flat):
        shape = jax.ShapeDtypeStruct((len(flat), *size), jnp.float32)
        return jax.pure_callback(drawn.forward, shape, flat)

    def back(flat, cotangent):
        shape = jax.ShapeDtypeStruct(flat.shape, jnp.float32)
        return (jax.pure_callback(drawn.backward, shape, flat, cotangent),)

    covered.defvjp(lambda flat: (covered(flat), flat), back)
    return covered(points.reshape(-1, n, 2)).reshape(*batch, *size)
