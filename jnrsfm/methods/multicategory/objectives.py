"""Objectives of the multi-category lifter: reprojection, canonicalisation, the cycle, and synthetic views of a prior.

See the package's docstring for the formulae and the sources.
"""

from functools import partial

import jax
import jax.numpy as jnp

from jnrsfm.geometry.cameras import posit_points, project_near
from jnrsfm.geometry.normalization import masked_mean
from jnrsfm.geometry.rotations import axis_angle_to_matrix, random_rotations
from jnrsfm.inputs.category_samples import Samples, centred
from jnrsfm.losses import pseudo_huber
from jnrsfm.methods.multicategory.network import Networks
from jnrsfm.methods.multicategory.settings import MultiCategory
from jnrsfm.models.lifter import Mode
from jnrsfm.training import Engine, Problem, Session

_JITTER = 0.2  # radians, standard deviation: cameras of other samples are turned by so much
# Where the loss of a distance turns from square to linear, in units of the category's size.
_huber = partial(pseudo_huber, scale=0.01)


def reprojection(shape, rotation, points, weights, nearness=None):
    """`(*batch, point, 2)` residual of the image, with the best translation of each sample taken out; under perspective
    (`nearness (*batch,)`) of the points that an orthographic camera would see at the depths of the shape, which are
    taken as known (POSIT): with their gradient, a training was seen to leave for worse shapes."""
    if nearness is not None:
        depths = jax.lax.stop_gradient(jnp.einsum("...pj,...j->...p", shape, rotation[..., 2, :]))
        points = posit_points(points, depths, weights, nearness)
    gap = points - jnp.einsum("...pj,...ij->...pi", shape, rotation[..., :2, :])
    return gap - masked_mean(gap, weights)


def _mean(values, weights):
    """Weighted mean over samples and points."""
    return jnp.sum(weights * values) / jnp.maximum(jnp.sum(weights), 1e-6)


def _mean_of_points(values, weights):
    """`(frame, 1)` weighted mean over points."""
    total = jnp.maximum(jnp.sum(weights, -1, keepdims=True), 1e-6)
    return jnp.maximum(jnp.sum(weights * values, -1, keepdims=True) / total, 1e-6)


def _without(keys, weights, most: float):
    """Weights with a share of each sample's points at 0, uniform in [0, `most`]; a sample that would keep fewer than
    four points loses none."""
    share = most * jax.random.uniform(keys[0], (len(weights), 1))
    seen = weights * (jax.random.uniform(keys[1], weights.shape) >= share)
    return jnp.where(jnp.sum(seen > 0, -1, keepdims=True) < 4, weights, seen)


def _in_plane(key, count: int, most: float):
    """`(count, 2, 2)` turns of the image by up to `most` radians."""
    angle = jax.random.uniform(key, (count,), minval=-most, maxval=most)
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([c, -s, s, c], -1).reshape(count, 2, 2)


class Objectives:
    """What the phases of one fit minimise."""

    def __init__(self, network: Networks, config: MultiCategory, session: Session):
        self.network, self.config, self.session = network, config, session

    def near(self, batch: Samples):
        """The nearness that `reprojection` takes: None but under perspective."""
        return batch.nearness if self.network.config.perspective else None

    def image(self, shape, rotation, weights, batch: Samples):
        """`(frame, point, 2)` of shapes under rotations, as the camera model has it; only its translation is free."""
        if self.network.config.perspective:
            return project_near(jnp.einsum("bpj,bij->bpi", shape, rotation), weights, batch.nearness)
        return jnp.einsum("bpj,bij->bpi", shape, rotation[:, :2])

    def engine(self, cycle: bool) -> Engine:
        """The engine, with the cycle or without."""
        objective = (
            self.synthetic_view_loss
            if self.config.variant == "procrustean"
            else partial(self.objective, cycle=cycle)
        )
        criteria = partial(self.criteria, mode="frozen" if cycle else "batch")
        return Engine(Problem(self.network.init, objective, criteria), self.config, self.session)

    def objective(self, nets, state, batch: Samples, key, hyper, *, cycle: bool):
        """Loss of a batch, and what to record."""
        mode: Mode = "frozen" if cycle else "batch"
        keys = jax.random.split(key, 4)
        n, weights, defined = len(batch.points), batch.weights, batch.defined
        views = [batch.points @ jnp.swapaxes(_in_plane(k, n, self.config.in_plane), 1, 2) for k in keys[:2]]
        # the network sees a part of the points that the loss is over
        seen, inputs = weights, views
        if self.config.most_hidden:
            seen = _without(jax.random.split(jax.random.fold_in(key, 4)), weights, self.config.most_hidden)
            inputs = [centred(v, seen) for v in views]
        (first, _), (second, _) = (self.network.lift(nets, state, v, seen, mode) for v in inputs)
        shape = second.shape * defined[..., None]
        gap = reprojection(shape, first.rotation, views[0], weights, self.near(batch))
        loss = _mean(_huber(jnp.sum(gap**2, -1)), weights)
        aux = {"reprojection": loss}
        if self.network.config.canonical:
            turn = _uniform_angle(keys[2], n)
            again = self.network.canonical(nets, state, jnp.einsum("bpj,bij->bpi", shape, turn), mode)
            aux["canonical"] = _mean(_huber(jnp.sum((again - shape) ** 2, -1)), defined)
            loss = loss + aux["canonical"]
        if cycle:
            turn = self.cycle_cameras(keys[3], batch.category, first.rotation)
            image = centred(self.image(shape, turn, seen, batch), seen)
            again, _ = self.network.lift(nets, state, image, seen, mode)
            aux["camera"] = jnp.mean(_huber(jnp.sum((again.rotation - turn) ** 2, (-2, -1))))
            aux["shape"] = _mean(_huber(jnp.sum((again.shape - shape) ** 2, -1)), defined)
            loss = loss + self.config.cycle_weight * (aux["camera"] + aux["shape"])
        return loss, (aux, state)

    def cycle_cameras(self, key, category, found):
        """Cameras of the cycle: any rotation, or those `found` for other samples of the category, turned a little."""
        keys = jax.random.split(key)
        if self.config.cycle_cameras == "any":
            return random_rotations(keys[0], (len(found),), found.dtype)
        other = jax.lax.stop_gradient(found[_partners(keys[0], category)])
        return axis_angle_to_matrix(_JITTER * jax.random.normal(keys[1], (len(found), 3))) @ other

    def synthetic_view_loss(self, nets, state, batch: Samples, key, hyper):
        """Loss of the rotation head on the prior's shapes under other cameras, other points hidden."""
        keys = jax.random.split(key, 6)
        n = len(batch.points)
        # the camera of another sample of the category, turned a little
        camera = batch.rotation[_partners(keys[0], batch.category)]
        camera = axis_angle_to_matrix(_JITTER * jax.random.normal(keys[1], (n, 3))) @ camera
        seen = _without(keys[2:4], batch.weights, self.config.most_hidden)
        image = self.image(batch.shape, camera, seen, batch)
        if self.network.config.perspective:  # an image is seen in its own size
            image = image / jnp.sqrt(_mean_of_points(jnp.sum(image**2, -1), seen))[..., None]
        image = image + 0.01 * jax.random.normal(keys[4], image.shape)
        # the real images too, with the rotation that was found for them
        points = jnp.concatenate([centred(image, seen), batch.points])
        out, _ = self.network.lift(nets, state, points, jnp.concatenate([seen, batch.weights]), "batch")
        square = jnp.sum((out.rotation - jnp.concatenate([camera, batch.rotation])) ** 2, (-2, -1))
        loss = jnp.mean(jnp.sqrt(square + 1e-4))
        return loss, ({"camera": loss}, state)

    def criteria(self, nets, state, batch: Samples, hyper, *, mode: Mode):
        """The error at the points that training sees, in units of the size."""
        out, _ = self.network.lift(nets, state, batch.points, batch.weights, mode)
        shape = batch.shape if out.shape is None else out.shape * batch.defined[..., None]
        gap = reprojection(shape, out.rotation, batch.points, batch.weights, self.near(batch))
        error = jnp.sum(batch.weights * jnp.sqrt(jnp.sum(gap**2, -1)), -1)
        return {"objective": (error, jnp.sum(batch.weights, -1))}

    def measured(self, nets, state, data: Samples):
        """The model state with the batch statistics of the whole set."""
        return jax.jit(lambda n, s, d: self.network.lift(n, s, d.points, d.weights, "measure")[1])(
            nets, state, data
        )


def _partners(key, category):
    """`(frame,)` for each sample one at random of the same category, each taken once."""
    one, two = (jnp.lexsort((jax.random.uniform(k, category.shape), category)) for k in jax.random.split(key))
    return jnp.zeros_like(one).at[one].set(two)


def _uniform_angle(key, count: int):
    """Turns about a random axis by an angle uniform in [0, pi], as C3DPO draws them."""
    one, two = jax.random.split(key)
    axis = jax.random.normal(one, (count, 3))
    axis = axis / jnp.linalg.norm(axis, axis=-1, keepdims=True)
    return axis_angle_to_matrix(axis * jax.random.uniform(two, (count, 1), maxval=jnp.pi))
