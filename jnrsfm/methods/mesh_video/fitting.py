r"""Cameras and handles of every frame by their images: the objective, its optimiser, and the camera multiplex.

Unknowns of a frame: N weak-perspective cameras (unit quaternion q, logarithm of the scale, shift, both relative to the
square around the object) and one displacement of each handle. A frame's loss under camera n,

$$L_n = w_k L_{kp} + w_m L_{mask} + w_b L_{boundary} + w_u L_{motion} + w_t L_{texture},$$

is weighted by $\mathrm{softmax}_n(-L_n)$, held constant, and what does not depend on the camera is added: local
rigidity, steadiness, the size of the displacement. Texture comes in when one camera is left. Motion ties camera n of a
frame to camera n of the next. Where hypotheses are dropped, the best *paths* through the clip are kept, by dynamic
programming over the losses of frames by themselves and the motion between every camera of a frame and every camera of
the next; each path without the cameras of those before it.

Source: Kokkinos and Kokkinos, CVPR 2021, section 3.3 and supplement B; Goel et al., Shape and viewpoint without
keypoints, ECCV 2020 (multiplex). Paths instead of the best cameras of each frame by itself are ours: one frame's
silhouette is as well explained from behind the image as from before it, and only motion tells.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jnrsfm.geometry.mesh import Outline, coverage, edge_table, handle_basis, outline_of, vertex_visible
from jnrsfm.geometry.mesh.handles import HandleModel
from jnrsfm.losses import mesh as losses
from jnrsfm.methods.mesh_video.clip import Clip
from jnrsfm.methods.mesh_video.settings import MeshVideo
from jnrsfm.training.optimizers import scheduled

_AT_ONCE = 16  # meshes whose outlines are drawn together


def rotation_of(q):
    """`(*batch, 3, 3)` rotation of a quaternion (w, x, y, z) of any length."""
    w, x, y, z = jnp.moveaxis(q / jnp.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return jnp.stack([jnp.stack(r, -1) for r in rows], -2)


def sampled(field, at):
    """Bilinear values `(vertex, c)` of `field (size, size, c)` at `at (vertex, 2)` (x, y); its border goes on."""
    size = field.shape[0]
    at = jnp.clip(at, 0.0, size - 1.0)
    low = jnp.clip(jnp.floor(jax.lax.stop_gradient(at)), 0, size - 2)
    part = at - low
    x, y = low[:, 0].astype(jnp.int32), low[:, 1].astype(jnp.int32)
    flat = field.reshape(size * size, -1)
    value = lambda dy, dx: flat[(y + dy) * size + x + dx]
    u, v = part[:, :1], part[:, 1:]
    return (1 - v) * ((1 - u) * value(0, 0) + u * value(0, 1)) + v * ((1 - u) * value(1, 0) + u * value(1, 1))


class Views(NamedTuple):
    """`vertices (frame, vertex, 3)` and, of each camera, `camera (frame, camera, vertex, 3)`: x and y in pixels."""

    vertices: Any
    camera: Any


class Fit:
    """The objective over a clip."""

    def __init__(self, model: HandleModel, faces: np.ndarray, keypoints: np.ndarray, config: MeshVideo):
        self.model, self.config, self.faces = model, config, np.asarray(faces, np.int32)
        self.outline: Outline = outline_of(faces)
        self.keypoints = np.asarray(keypoints, np.int32)
        self.pairs = jnp.asarray(edge_table(faces).ends)
        ends = np.asarray(self.pairs)
        self.lengths = jnp.asarray(np.linalg.norm(model.rest[ends[:, 0]] - model.rest[ends[:, 1]], axis=-1))
        self.rest, self.basis, self.gram = (jnp.asarray(x) for x in (model.rest, model.basis, model.gram))
        self.see = jax.jit(lambda camera: vertex_visible(camera, self.faces))

    def views(self, params: dict[str, Any], clip: Clip, free: Any = 1.0) -> Views:
        """Meshes and what cameras see of them; handles are moved by `free` of their displacement."""
        basis = self.basis
        if "logits" in params:
            basis = handle_basis(self.gram, jax.nn.softmax(params["logits"]))
        vertices = self.rest + jnp.einsum("vk,fkj->fvj", basis, free * params["handles"])
        turned = jnp.einsum("fvj,fnij->fnvi", vertices, rotation_of(params["quaternions"]))
        scale = clip.side[:, None] * jnp.exp(params["sizes"])
        shift = clip.centre[:, None] + clip.side[:, None, None] * params["shifts"]
        shift = jnp.concatenate([shift, jnp.zeros_like(shift[..., :1])], -1)
        return Views(vertices, scale[..., None, None] * turned + shift[:, :, None])

    def grid(self, points, clip: Clip):
        """Pixels of the squares' grids for pixels `(frame, camera, vertex, 2)` of the images."""
        size = clip.mask.shape[1]
        side, centre = clip.side[:, None, None, None], clip.centre[:, None, None]
        return (points - centre) / side * size + (size / 2 - 0.5)

    def silhouettes(self, grid, size: int):
        """`(frame, camera, size, size)` masks, some meshes at a time."""
        f, n, v, _ = grid.shape
        flat = grid.reshape(f * n, v, 2)
        pad = -len(flat) % _AT_ONCE
        flat = jnp.concatenate([flat, jnp.zeros((pad, v, 2), flat.dtype)])
        drawn = jax.lax.map(
            lambda p: coverage(self.outline, p, (size, size)), flat.reshape(-1, _AT_ONCE, v, 2)
        )
        return drawn.reshape(-1, size, size)[: f * n].reshape(f, n, size, size)

    def terms(self, params: dict[str, Any], clip: Clip, hyper: dict[str, Any]) -> tuple[Any, Views]:
        """`(frame, camera)` losses L_n by name, unweighted; and the views."""
        c = self.config
        views = self.views(params, clip, hyper["free"])
        points = views.camera[..., :2]
        side = clip.side[:, None]
        found = {}
        grid = self.grid(points, clip)
        if self.keypoints.size:
            labels, weights = (
                jnp.broadcast_to(x[:, None], (*points.shape[:2], *x.shape[1:]))
                for x in (clip.points, clip.weights)
            )
            found["keypoint"] = losses.keypoints(points[:, :, self.keypoints], labels, weights) / side
        if c.use_masks:
            size = clip.mask.shape[1]
            inside = clip.inside[:, None]
            drawn = self.silhouettes(grid, size) * inside
            has = clip.masked[:, None]
            found["mask"] = has * losses.mask(drawn, clip.mask[:, None] * jnp.ones_like(drawn))
            look = jax.vmap(jax.vmap(sampled, (None, 0)))
            away = losses.outside(look(clip.away[..., None], grid)[..., 0])
            rim = jnp.broadcast_to(clip.rim[:, None], (*points.shape[:2], *clip.rim.shape[1:]))
            weights = jnp.broadcast_to(clip.rim_weights[:, None], rim.shape[:-1])
            found["boundary"] = has * (away + losses.uncovered(points, rim, weights) / side)
            if c.use_motion:
                fields = jnp.concatenate([clip.flow, clip.sound[..., None]], -1)
                seen = look(fields, jax.lax.stop_gradient(grid))
                both = clip.seen * clip.seen[clip.next] * clip.pair[:, None, None] * (seen[..., 2] > 0.9)
                found["motion"] = losses.motion(points, points[clip.next], seen[..., :2], both) / side
            if c.texture_weight and points.shape[1] == 1:
                colours = look(clip.image.astype(jnp.float32) / 255, grid)[:, 0]
                inside = jax.lax.stop_gradient(look(clip.mask[..., None], grid)[:, 0, :, 0] > 0.5)
                found["texture"] = losses.texture(colours, clip.seen[:, 0] * inside)[0][:, None]
        return found, views

    def objective(self, params, model_state, clip: Clip, key, hyper):
        """For the engine, which hands over all frames in order."""
        c = self.config
        found, views = self.terms(params, clip, hyper)
        total = sum(getattr(c, f"{name}_weight") * value for name, value in found.items())
        share = jax.nn.softmax(-hyper["sharpness"] * jax.lax.stop_gradient(total), axis=1)
        rigid = losses.local_rigidity(views.vertices, self.pairs, self.lengths)
        handles = params["handles"]
        steady = clip.pair * losses.steadiness(handles, handles[clip.next])
        rest = (handles**2).sum(-1).mean(-1)
        own = c.rigid_weight * rigid + c.steady_weight * steady + c.rest_weight * rest
        loss = ((share * total).sum(1) + hyper["free"] * own).mean()
        metrics = {name: (share * value).sum(1).mean() for name, value in found.items()} | {
            "rigid": rigid.mean()
        }
        tied = {"motion", "texture"} & found.keys()  # not of the frame by itself
        alone = total - sum(getattr(c, f"{name}_weight") * found[name] for name in tied)
        return loss, (metrics, {"losses": jax.lax.stop_gradient(alone)})

    def criteria(self, params, model_state, clip: Clip, hyper):
        """The loss of each frame by itself, without motion, under its best camera, as the last step left it."""
        best = model_state["losses"].min(1)[clip.index]
        return {"objective": (best, jnp.ones_like(best)), "heldout": (best, jnp.ones_like(best))}

    def optimizer(self) -> optax.GradientTransformation:
        """Adam, cameras and handles at rates of their own."""
        c = self.config
        rates = {"camera": c.camera_rate, "shape": c.learning_rate, "weights": 0.1 * c.learning_rate}

        def group(peak: float) -> optax.GradientTransformation:
            schedule = scheduled(lambda step, steps: c.rate(step, steps) * peak / c.learning_rate)
            return optax.chain(optax.scale_by_adam(), schedule)

        groups = {name: group(peak) for name, peak in rates.items()}
        kind = {"handles": "shape", "logits": "weights"}
        return optax.multi_transform(
            groups, lambda params: {name: kind.get(name, "camera") for name in params}
        )


def best_paths(unary: np.ndarray, pairwise: np.ndarray, joined: np.ndarray, count: int) -> np.ndarray:
    """`(frame, count)` cameras: the cheapest path through `unary (frame, camera)` and `pairwise (frame, camera,
    camera)` (to the next frame, counted where `joined (frame,)`), then the cheapest without its cameras, and so on."""
    cost, out = unary.astype(np.float64).copy(), []
    rows = np.arange(len(cost))
    for _ in range(count):
        total, back = cost.copy(), np.zeros(cost.shape, int)
        for f in range(1, len(cost)):
            if joined[f - 1]:
                step = total[f - 1][:, None] + pairwise[f - 1]
                back[f], total[f] = step.argmin(0), total[f] + step.min(0)
            else:
                back[f] = total[f - 1].argmin()
        path = np.zeros(len(cost), int)
        path[-1] = total[-1].argmin()
        for f in range(len(cost) - 1, 0, -1):
            path[f - 1] = back[f, path[f]]
        out.append(path)
        cost[rows, path] = 1e9
    return np.stack(out, 1)
