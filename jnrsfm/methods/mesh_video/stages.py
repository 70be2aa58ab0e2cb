"""The order of an optimisation: where cameras begin, which are kept, when handles move; and the result of it."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.geometry.mesh import MeshSequence, TriangleMesh, rasterise
from jnrsfm.geometry.mesh.handles import HandleModel
from jnrsfm.geometry.pose import solve_onp
from jnrsfm.inputs.crops import Squares
from jnrsfm.inputs.masks import mask_by_guess
from jnrsfm.losses import mesh as losses
from jnrsfm.methods.mesh_video import segmenting
from jnrsfm.methods.mesh_video.clip import LEAST_POINTS, Clip, Evidence, clip_of, evidence_of, with_masks
from jnrsfm.methods.mesh_video.fitting import Fit, best_paths, rotation_of, sampled
from jnrsfm.methods.mesh_video.settings import MeshVideo
from jnrsfm.training import Engine, Phase, Problem, Resident, Session
from jnrsfm.training.problem import stacked
from jnrsfm.types import Cameras, LabelledImages

Params = dict[str, Any]


class Optimised(NamedTuple):
    """What an optimisation leaves: `params` with one camera a frame, the `clip` as it was fitted to, the `evidence`,
    `drawn (frame, size, size)` silhouettes, `diagnostics`."""

    params: Params
    clip: Clip
    evidence: Evidence
    drawn: np.ndarray
    diagnostics: dict[str, Any]


def quaternion_of(r: np.ndarray) -> np.ndarray:
    """`(*batch, 4)` (w, x, y, z), w >= 0, of rotations."""
    from scipy.spatial.transform import Rotation

    found = Rotation.from_matrix(r.reshape(-1, 3, 3)).as_quat(scalar_first=True)
    found = found * np.where(found[:, :1] < 0, -1, 1)
    return found.reshape(*r.shape[:-2], 4).astype(np.float32)


def upright(up: str) -> np.ndarray:
    """The rotation that brings an axis of the template to the image's up (-y)."""
    axis = "xyz".index(up[-1])
    v = np.eye(3)[axis] * (-1 if up[0] == "-" else 1)
    rows = np.stack([np.zeros(3), -v, np.zeros(3)])
    rows[0] = np.eye(3)[(axis + 1) % 3]
    rows[2] = np.cross(rows[0], rows[1])
    return rows


def around(config: MeshVideo) -> np.ndarray:
    """`(camera, 3, 3)` rotations evenly around the up axis, looking down by the elevation."""
    angle = 2 * np.pi * np.arange(config.cameras) / config.cameras
    c, s, o, i = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    turn = np.stack([np.stack([c, o, s], -1), np.stack([o, i, o], -1), np.stack([-s, o, c], -1)], 1)
    e = np.deg2rad(config.elevation)
    tilt = np.array([[1, 0, 0], [0, np.cos(e), -np.sin(e)], [0, np.sin(e), np.cos(e)]])
    return tilt @ turn @ upright(config.up)


def framed(rest: np.ndarray, rotations: np.ndarray, clip: Clip) -> Params:
    """Cameras of rotations `(frame, camera, 3, 3)` that put the template's box on that of the mask."""
    size = clip.mask.shape[1]
    turned = np.einsum("vj,fnij->fnvi", rest, rotations)[..., :2]
    low, high = turned.min(2), turned.max(2)
    y, x = (np.asarray(clip.mask) > 0.5).any(2), (np.asarray(clip.mask) > 0.5).any(1)
    first = lambda b: np.where(b.any(1), b.argmax(1), 0.1 * size)
    last = lambda b: np.where(b.any(1), size - 1 - b[:, ::-1].argmax(1), 0.9 * size)
    box = np.stack([first(x), first(y), last(x), last(y)], 1)
    box = (box + 0.5) / size - 0.5  # in sides, from the middle
    ratio = (box[:, None, 2:] - box[:, None, :2]) / (high - low)
    scale = np.sqrt(np.maximum(ratio, 1e-3).prod(-1))
    middle = (box[:, None, :2] + box[:, None, 2:]) / 2 - scale[..., None] * (low + high) / 2
    return {
        "quaternions": quaternion_of(rotations), "sizes": np.log(scale).astype(np.float32),
        "shifts": middle.astype(np.float32),
    }  # fmt: skip


def between(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values `(frame, ...)` of frames that are not known, linear between those that are."""
    t, flat = np.arange(len(known)), values.reshape(len(known), -1).astype(np.float64)
    columns = [np.interp(t, t[known], flat[known, c]) for c in range(flat.shape[1])]
    return np.stack(columns, 1).reshape(values.shape).astype(values.dtype)


def continuous(q: np.ndarray) -> np.ndarray:
    """Quaternions `(frame, 4)` of length 1 with the signs that change least from frame to frame."""
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    for f in range(1, len(q)):
        if (q[f] * q[f - 1]).sum() < 0:
            q[f] = -q[f]
    return q


def cameras_of_keypoints(model: HandleModel, clip: Clip, vertices: np.ndarray) -> Params:
    """Cameras by resection from the template's keypoints; frames with too few of them between those with enough."""
    shape = np.broadcast_to(model.rest[vertices], (*clip.weights.shape, 3))
    enough = (np.asarray(clip.weights) > 0).sum(1) >= LEAST_POINTS
    weights = np.where(enough[:, None], clip.weights, 1.0)
    points = np.where(enough[:, None, None], clip.points, shape[..., :2])
    pose = jax.jit(lambda a, b, w: solve_onp(a, b, w, with_scale=True))(
        jnp.asarray(shape), jnp.asarray(points), jnp.asarray(weights)
    )
    side = np.asarray(clip.side)
    q = continuous(between(enough, continuous(quaternion_of(np.asarray(pose.rotation)))))
    sizes = between(enough, np.log(np.maximum(np.asarray(pose.scale), 1e-6) / side))
    shifts = between(enough, (np.asarray(pose.translation) - clip.centre) / side[:, None])
    return {"quaternions": q[:, None], "sizes": sizes[:, None], "shifts": shifts[:, None]}


def motion_between(fit: Fit, params: Params, clip: Clip) -> np.ndarray:
    """`(frame, camera, camera)` motion losses of every camera of a frame and every one of the next, weighted."""

    @jax.jit
    def costs(params, clip):
        points = fit.views(params, clip).camera[..., :2]
        grid = fit.grid(points, clip)
        fields = jnp.concatenate([clip.flow, clip.sound[..., None]], -1)

        def one(frame):
            here, place, seen, field, then, seen_then, side = frame
            look = jax.vmap(lambda p: sampled(field, p))(place)
            both = lambda i, j: seen[i] * seen_then[j] * (look[i, :, 2] > 0.9)
            cost = lambda i, j: losses.motion(here[i], then[j], look[i, :, :2], both(i, j)) / side
            n = jnp.arange(len(here))
            return jax.vmap(lambda i: jax.vmap(lambda j: cost(i, j))(n))(n)

        return jax.lax.map(
            one, (points, grid, clip.seen, fields, points[clip.next], clip.seen[clip.next], clip.side)
        )

    return fit.config.motion_weight * np.asarray(costs(params, clip))


class _Work:
    """One optimisation: the fit, the engine, the phases."""

    def __init__(self, images, mesh, model, config, evidence, seed, session, prefix=""):
        self.images, self.model, self.config, self.evidence, self.prefix = (
            images,
            model,
            config,
            evidence,
            prefix,
        )
        self.session, self.key = session, jax.random.key(seed)
        self.fit = Fit(model, mesh.faces, evidence.keypoints, config)
        self.motion = config.use_motion and config.use_masks and images.landmarks.sequence is not None
        self.texture = config.use_masks and config.texture_weight > 0
        shape: Params = {"handles": np.zeros((len(images), len(model.vertices), 3), np.float32)}
        if config.learn_weights:
            shape["logits"] = model.logits
        self.shape = shape
        plain = dataclasses.replace(config, batch=0, restarts=1, prune_at=())
        problem = Problem(lambda key: (shape, {}), self.fit.objective, self.fit.criteria)
        self.engine = Engine(problem, plain, session, optimizer=self.fit.optimizer())
        self.diagnostics: dict[str, Any] = {}
        self._views = jax.jit(self.fit.views)

    def clip(self, size: int, cameras: int) -> Clip:
        """The frames at a size."""
        texture = cameras == 1 and self.texture
        return clip_of(self.images, self.evidence, size, cameras, len(self.model.rest), self.motion, texture)

    def seeing(self, params: Params, clip: Clip, free: float = 1.0) -> Clip:
        """With what each camera sees, where motion is used."""
        if not (self.motion or self.texture):
            return clip
        return clip._replace(
            seen=np.asarray(self.fit.see(self._views(params, clip, free).camera), np.float32)
        )

    def phase(
        self, name: str, params: Params, clip: Clip, steps: int, free: float, sharpness: float
    ) -> tuple[Params, np.ndarray]:
        """Parameters after a phase, and the losses `(frame, camera)` of frames by themselves at its last step."""
        state = {"losses": jnp.zeros(np.shape(params["sizes"]), jnp.float32)}
        if not steps:
            return params, np.asarray(state["losses"])
        clip = self.seeing(params, clip, free)
        source = Resident(jax.tree.map(jnp.asarray, clip), 0, len(self.images))
        begin = stacked((jax.tree.map(jnp.asarray, params), state))
        hyper = {"free": free, "sharpness": sharpness}
        trained = self.engine.train(Phase(self.prefix + name, steps, source, hyper, start=begin), self.key)
        self.diagnostics[self.prefix + name] = trained.criteria[0]["objective"]
        return jax.tree.map(np.asarray, trained.params), np.asarray(trained.model_state["losses"])

    def shapes(self, params: Params, clip: Clip) -> Params:
        """Handles and cameras together, in rounds."""
        each = -(-self.config.steps // self.config.rounds)
        for k in range(self.config.rounds):
            params, _ = self.phase(f"shapes-{k + 1}", params, clip, each, 1.0, 0.0)
        return params

    def multiplex(self) -> Params:
        """One camera a frame out of many around the up axis: tried at a coarse size, dropped by halves."""
        config, n = self.config, len(self.images)
        count = config.cameras
        clip = self.clip(config.coarse, count)
        rotations = np.broadcast_to(around(config), (n, count, 3, 3))
        params = {**self.shape, **framed(self.model.rest, rotations, clip)}
        while count > 1:
            first = count == config.cameras
            steps = config.camera_steps if first else config.camera_steps // 2
            on = 0.0 if first else 1.0
            params, unary = self.phase(f"cameras-{count}", params, clip, steps, on, on)
            pairwise = np.zeros((*unary.shape, count))
            if self.motion:
                pairwise = motion_between(self.fit, params, self.seeing(params, clip))
            count = -(-count // 2)
            kept = best_paths(unary, pairwise, np.asarray(clip.pair) > 0, count)
            pick = lambda x, kept=kept: np.take_along_axis(
                x, kept.reshape(*kept.shape, *[1] * (x.ndim - 2)), 1
            )
            params = params | {k: pick(params[k]) for k in ("quaternions", "sizes", "shifts")}
            clip = clip._replace(seen=np.zeros((n, count, len(self.model.rest)), np.float32))
        return params


def optimise(
    images: LabelledImages,
    mesh: TriangleMesh,
    model: HandleModel,
    config: MeshVideo,
    seed: int,
    session: Session,
    guess: Callable[[Squares], Params] | None = None,
) -> Optimised:
    """Cameras and handles of all frames: from keypoints where there are some, else from the `guess` of what lies in the
    squares, if there is one, else from cameras all around. Where keypoints stand alone, the mesh that they give is the
    guess from which masks are made. Frames with nothing to go by keep the guess, or lie between their neighbours.
    Raises InputError where there is nothing to go by at all."""
    evidence = evidence_of(images, mesh, config, needed=guess is None)
    evidence = segmented(images, evidence, config, jax.random.key(seed), session)
    guessed = None if guess is None else guess(evidence.where)
    by_points = bool(evidence.told.any())
    make = by_points and config.use_masks and images.masks is None
    diagnostics: dict[str, Any] = {}
    params: Params | None = None
    if make:
        session.say("mesh-video: no masks given: making them from a fit to the keypoints")
        quick = dataclasses.replace(config, use_masks=False, rounds=1, steps=max(1, config.steps // 2))
        points = _Work(images, mesh, model, quick, evidence, seed, session, "points-")
        clip = points.clip(config.size, 1)
        params = {**points.shape, **cameras_of_keypoints(model, clip, evidence.keypoints)}
        params = points.shapes(points.phase("cameras", params, clip, config.camera_steps, 0.0, 0.0)[0], clip)
        evidence = with_masks(evidence, _made(images, points, params, clip, mesh))
        diagnostics |= points.diagnostics
    work = _Work(images, mesh, model, config, evidence, seed, session)
    session.say(f"mesh-video: preparing {len(images)} frames{', flow' if work.motion else ''}")
    clip = work.clip(config.size, 1)
    if params is None and by_points:
        params = {**work.shape, **cameras_of_keypoints(model, clip, evidence.keypoints)}
        params, _ = work.phase("cameras", params, clip, config.camera_steps, 0.0, 0.0)
    elif params is None:
        params = work.multiplex() if guessed is None else {**work.shape, **guessed}
    known = evidence.known
    if known.any():
        params = work.shapes(params, clip)
    if guessed is not None:
        pick = lambda a, b: np.where(known.reshape(-1, *[1] * (a.ndim - 1)), a, b)
        params = params | {k: pick(params[k], guessed[k]) for k in guessed}
    elif not known.all():
        q = continuous(params["quaternions"][:, 0].copy())
        params = params | {
            "quaternions": continuous(between(known, q))[:, None], "sizes": between(known, params["sizes"]),
            "shifts": between(known, params["shifts"]), "handles": between(known, params["handles"]),
        }  # fmt: skip
    views = work._views(params, clip)
    draw = jax.jit(lambda g: work.fit.silhouettes(g, config.size))
    drawn = np.asarray(draw(work.fit.grid(views.camera[..., :2], clip)))[:, 0]
    given = "made from keypoints" if evidence.made else "given" if clip.masked.any() else "none"
    return Optimised(
        params, clip, evidence, drawn * clip.inside, diagnostics | {"masks": given} | work.diagnostics
    )


def segmented(
    images: LabelledImages, evidence: Evidence, config: MeshVideo, key: Any, session: Session
) -> Evidence:
    """With masks for the frames that have none, by a network trained on those that have one, if these are enough."""
    lacking = np.flatnonzero([m is None for m in evidence.masks])
    there = len(evidence.masks) - len(lacking)
    if not (config.use_masks and config.mask_steps and len(lacking) and there >= segmenting.LEAST_MASKS):
        return evidence
    session.say(f"mesh-video: {len(lacking)} frames have no mask: learning masks from the other {there}")
    params = segmenting.train(images, evidence.where, evidence.masks, config, key, session)
    masks = list(evidence.masks)
    for i, m in zip(
        lacking, segmenting.predict(images, evidence.where, params, config, lacking), strict=True
    ):
        masks[i] = m if m.sum() >= 16 else None
    known = evidence.known | np.array([m is not None for m in masks])
    return evidence._replace(masks=masks, known=known)


def _made(
    images: LabelledImages, work: _Work, params: Params, clip: Clip, mesh: TriangleMesh
) -> list[np.ndarray]:
    """A mask for each frame with evidence, near the silhouette of its mesh."""
    camera = np.asarray(work._views(params, clip).camera)[:, 0]
    masks = []
    for i in range(len(images)):
        width, height = np.asarray(images.pixels.sizes)[i]
        guess = rasterise(camera[i], mesh.faces, (height, width)).face >= 0
        masks.append(mask_by_guess(images.pixels.read(i), guess & bool(work.evidence.known[i])))
    return masks


def sequence_of(
    images: LabelledImages, mesh: TriangleMesh, model: HandleModel, done: Optimised, colours: bool = True
) -> MeshSequence:
    """The result of an optimisation."""
    params, clip = done.params, done.clip
    basis, weights = model.basis, model.weights
    if "logits" in params:
        from jnrsfm.geometry.mesh import fold

        weights = np.asarray(jax.nn.softmax(jnp.asarray(params["logits"])))
        basis = fold(model.gram, model.rest, weights)[1].astype(np.float32)
    vertices = model.rest + np.einsum("vk,fkj->fvj", basis, params["handles"])
    side = np.asarray(clip.side)
    shift = np.asarray(clip.centre) + side[:, None] * params["shifts"][:, 0]
    cameras = Cameras(
        np.asarray(rotation_of(params["quaternions"][:, 0]), np.float32),
        np.concatenate([shift, np.zeros((len(side), 1))], 1).astype(np.float32),
        (side * np.exp(params["sizes"][:, 0])).astype(np.float32),
        model="weak-perspective",
    )
    found, given = done.drawn > 0.5, (np.asarray(clip.mask) > 0.5) & (np.asarray(clip.inside) > 0.5)
    both, either = (found & given).sum((1, 2)), (found | given).sum((1, 2))
    landmarks, rest_handles = images.landmarks, weights @ model.rest
    result = MeshSequence(
        vertices=vertices.astype(np.float32), faces=np.asarray(mesh.faces), cameras=cameras, rest=model.rest,
        handles=(rest_handles + params["handles"]).astype(np.float32), rest_handles=rest_handles.astype(np.float32),
        basis=basis, keypoints=None if mesh.keypoints is None else np.asarray(mesh.keypoints),
        iou=np.where(np.asarray(clip.masked) > 0, both / np.maximum(either, 1), np.nan).astype(np.float32),
        known=np.asarray(done.evidence.known), sequence=landmarks.sequence, frame_index=landmarks.frame_index,
        names=mesh.names, mirror="template", gauge="the template has diameter 2; scale and position are in pixels",
        fps=landmarks.fps,
    )  # fmt: skip
    shown = np.asarray(cameras.project(vertices[:, done.evidence.keypoints]))
    gap = np.linalg.norm(shown - np.asarray(clip.points), axis=-1) * (np.asarray(clip.weights) > 0)
    count = (np.asarray(clip.weights) > 0).sum(1)
    score = np.where(count > 0, gap.sum(1) / np.maximum(count, 1), np.nan).astype(np.float32)
    result = result.replace(score=score)
    return result.replace(colours=colours_of(images, result)) if colours else result


def colours_of(images: LabelledImages, result: MeshSequence, most: int = 60) -> np.ndarray:
    """`(vertex, 3)` colours in [0, 1]: the mean of the images where a vertex is seen, over known frames; vertices that
    no frame sees take those of their neighbours."""
    from jnrsfm.geometry.mesh import edge_table, vertex_visible

    frames = np.flatnonzero(np.asarray(result.known))
    frames = frames[np.linspace(0, len(frames) - 1, min(most, len(frames))).astype(int)]
    camera = np.asarray(result.camera_vertices)[frames]
    seen = np.asarray(jax.jit(lambda c: vertex_visible(c, result.faces))(camera))
    total, weight = np.zeros((camera.shape[1], 3)), np.zeros(camera.shape[1])
    for k, f in enumerate(frames):
        image = images.pixels.read(int(f))
        x, y = np.round(camera[k, :, :2]).astype(int).T
        inside = seen[k] & (x >= 0) & (y >= 0) & (x < image.shape[1]) & (y < image.shape[0])
        total[inside] += image[y[inside], x[inside]] / 255
        weight[inside] += 1
    known = weight > 0
    colours = np.where(known[:, None], total / np.maximum(weight, 1)[:, None], 0.5)
    ends = edge_table(np.asarray(result.faces)).ends
    while known.any() and not known.all():
        total, count = np.zeros_like(colours), np.zeros(len(colours))
        for a, b in (ends.T, ends.T[::-1]):
            np.add.at(total, a, colours[b] * known[b][:, None])
            np.add.at(count, a, known[b].astype(float))
        new = ~known & (count > 0)
        colours[new] = total[new] / count[new][:, None]
        known = known | new
    return colours.astype(np.float32)
