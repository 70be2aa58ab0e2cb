"""The objective of a trajectory field: photometric losses at one time and others, and regularisers."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnrsfm.geometry import rays as geometry
from jnrsfm.geometry.scene_space import SceneSpace
from jnrsfm.losses import field as losses
from jnrsfm.methods.trajectory_field.rendering import (
    Mixed,
    Samples,
    Sampling,
    image_of,
    mixed,
    rays_of,
    sampled,
    still_of,
)
from jnrsfm.methods.trajectory_field.settings import TrajectoryFieldSettings
from jnrsfm.models import field
from jnrsfm.models.field import FieldConfig
from jnrsfm.training import Mean


class Pixels(NamedTuple):
    """Training pixels, a row each: `frame`, `place (2,)` x and y, `colour (3,)` uint8, `moving`, `flow (2, 2)` to the
    frame before and after, `flow_valid (2,)`, `far (2,)` where chained flow leads `far_steps` frames on (0: nowhere;
    None: not chained), inverse `depth` and `depth_valid`."""

    frame: Any
    place: Any
    colour: Any
    moving: Any
    flow: Any
    flow_valid: Any
    far: Any
    far_steps: Any
    depth: Any
    depth_valid: Any


def _held(still: tuple[Any, Any, Any] | None, moving: Any) -> tuple[Any, Any, Any] | None:
    """The static field's values, without gradient on rays that see something move: else it takes the mean look of what
    moves upon itself, and leaves little to the field that could follow it. Its share of each place stays free."""
    if still is None:
        return None
    free = ~moving[:, None]
    stop = jax.lax.stop_gradient
    density, share, colour = still
    return jnp.where(free, density, stop(density)), share, jnp.where(free[..., None], colour, stop(colour))


def _picked(pair: Any, step: Any) -> Any:
    """Of `pair (ray, 2, ...)`, before and after, that on the side of `step`, less or more than 0."""
    which = (step > 0).astype(jnp.int32)
    return jnp.take_along_axis(pair, which.reshape(-1, *(1,) * (pair.ndim - 1)), 1)[:, 0]


class Track(NamedTuple):
    """What the frames have in common with their pixels: cameras, bounds, `time` in frames, one row a frame."""

    camera_to_world: Any
    intrinsics: Any
    bounds: Any
    time: Any


class Warped(NamedTuple):
    """The field at t1 where the samples of t0 have gone: their new `points`, `density`, `colour` at t0, coefficients,
    and the probability of occlusion."""

    points: Any
    density: Any
    colour: Any
    coefficients: Any
    occluded: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
    """The loss of a batch of pixels. `path`: frames follow each other; `width` of the images, the unit of flow."""

    settings: TrajectoryFieldSettings
    config: FieldConfig
    space: SceneSpace
    sampling: Sampling
    track: Track
    path: bool
    width: float
    background: tuple[float, ...] | None = None

    def __call__(self, params, model_state, batch: Pixels, key, hyper):
        """`(loss, (metrics, model_state))`, as the engine asks for."""
        terms = self.terms(params, batch, key, hyper)
        loss = jnp.stack(list(terms.values())).sum()
        mse = terms["photo"]
        return loss, ({"mse": Mean(mse, jnp.ones(()))} | terms, model_state)

    def criteria(self, params, model_state, batch: Pixels, hyper):
        """The squared error of the rendered pixels."""
        key = jax.random.key(0)
        time = self.track.time[batch.frame]
        rays = self._rays(batch, time)
        s = sampled(params, self.config, self.space, self.sampling, rays, key)
        both, _ = self._first(params, s, time)
        weights, passed = geometry.volume_weights(both.density, s.length)
        found = image_of(weights, passed, both.colour, self.background)
        error = losses.photometric(found, batch.colour / 255.0)
        return {"objective": (error, jnp.ones_like(error))}

    def _rays(self, batch: Pixels, time):
        t = self.track
        pixels = batch.place.astype(jnp.float32)
        return rays_of(
            t.camera_to_world[batch.frame], t.intrinsics[batch.frame], pixels, t.bounds[batch.frame], time
        )

    def _first(self, params, s: Samples, time) -> tuple[Mixed, tuple[Any, Any, Any]]:
        """Both fields at t0, and the parts: static (density, share, colour), dynamic values, their colour."""
        still = still_of(params, self.config, s)
        if not self.config.dynamic:
            return mixed(still, None, None), (still, None, None)
        at = time[:, None]
        found = field.dynamic_field(params, self.config, s.points, at)
        colour = field.colour(params["dynamic"], self.config, found.embedding, s.view, at)
        return mixed(still, found.density, colour), (still, found, colour)

    def _warped(self, params, s: Samples, found: field.Dynamic, start, end) -> Warped:
        a, b = start[:, None], end[:, None]
        moved = s.points + field.displacement(params, self.config, found.coefficients, a, b)
        there = field.dynamic_field(params, self.config, moved, b)
        colour = field.colour(params["dynamic"], self.config, there.embedding, s.view, a)
        if self.settings.occlusion:
            p = losses.occlusion(found.density, there.density, self.settings.attached_occlusion)
        else:
            p = jnp.zeros_like(found.density)
        return Warped(moved, there.density, colour, there.coefficients, p)

    def _times(self, key, batch: Pixels, progress):
        """Time t0 of each ray; that of a neighbour (on the other side beyond the ends), its frame, and which side it
        is; whether the ray is rendered from the neighbour, and the time t1 that it is rendered from: the neighbour's,
        or any within a radius that grows with the progress of the training."""
        one, two, three = jax.random.split(key, 3)
        n, frames = self.config.n_times, len(self.track.time)
        start = self.track.time[batch.frame]
        step = jnp.where(jax.random.bernoulli(one, 0.5, start.shape), 1, -1)
        if self.path:
            other = batch.frame + step
            step = jnp.where((other < 0) | (other >= frames), -step, step)
            neighbour = batch.frame + step
            near = self.track.time[neighbour]
        else:
            step = jnp.where((start + step < 0) | (start + step > n - 1), -step, step)
            neighbour, near = batch.frame, start + step
        local = jax.random.bernoulli(three, 1.0 if self.settings.variant == "local" else 0.5, start.shape)
        radius = self.settings.radius * 2.0 ** jnp.floor(progress * self.settings.doublings)
        low, high = jnp.maximum(start - radius, 0), jnp.minimum(start + radius, n - 1)
        far = low + jax.random.uniform(two, start.shape) * (high - low)
        far = jnp.round(far) if self.path else far
        return start, near, neighbour, step, local, jnp.where(local, near, far)

    def terms(self, params, batch: Pixels, key: Any, hyper: Any) -> dict[str, Any]:
        """The terms of the loss by name, each with its weight."""
        w, progress = self.settings, hyper["progress"]
        draw, sample = jax.random.split(key)
        start, near, neighbour, step, local, end = self._times(draw, batch, progress)
        truth = batch.colour / 255.0
        rays = self._rays(batch, start)
        s = sampled(params, self.config, self.space, self.sampling, rays, sample)
        both, (still, found, own) = self._first(params, s, start)
        held = still if found is None else _held(still, batch.moving)
        if held is not None and found is not None:
            both = mixed(held, found.density, own)
        weights, passed = geometry.volume_weights(both.density, s.length)
        photo = lambda x: losses.photometric(x, truth).mean()
        out: dict[str, Any] = {"photo": photo(image_of(weights, passed, both.colour, self.background))}
        fading = 10.0 ** -jnp.floor(3 * progress)
        growing = 10.0 ** (jnp.minimum(jnp.floor(4 * progress), 3) - 3)
        if w.surface_weight:
            surface = losses.single_surface(weights, s.shares, w.surface_window).mean()
            out["surface"] = w.surface_weight * growing * surface
        if self.config.kind == "planes" and w.plane_weight:
            space, time = field.plane_roughness(params)
            out["planes"] = w.plane_weight * (space + time)
        if batch.depth is not None and w.depth_weight:
            inverse = (weights / s.depths).sum(-1)
            gap = losses.affine_depth(
                inverse, jnp.where(batch.depth_valid, batch.depth, 0.0), batch.depth_valid.astype(jnp.float32),
                batch.frame, len(self.track.time),
            )  # fmt: skip
            out["depth"] = w.depth_weight * fading * gap.mean()
        if found is not None and still is not None:
            calm = 1.0 - batch.moving.astype(jnp.float32)
            alone, through = geometry.volume_weights(still[0], s.length)
            image = image_of(alone, through, still[2], self.background)
            out["static"] = w.static_weight * (calm * losses.photometric(image, truth)).mean()
            out["mask"] = w.mask_weight * (calm * (weights * both.moving).sum(-1)).mean()
        if not w.paths or found is None:
            return out
        # Each ray is rendered from its neighbour or from any time, by the toss of a coin: half the work of both.
        there = self._warped(params, s, found, start, end)
        warped, tint = losses.blended(there.occluded, (found.density, own), (there.density, there.colour))
        mix = mixed(held, warped, tint)
        ws, rest = geometry.volume_weights(mix.density, s.length)
        error = losses.photometric(image_of(ws, rest, mix.colour, self.background), truth)
        twice = 1.0 if w.variant == "local" else 2.0
        out["photo_near"] = twice * (local * error).mean()
        out["photo_far"] = twice * ((1.0 - local) * error).mean()
        if w.cycle_weight:
            coefficients = (found.coefficients, there.coefficients)
            terms = losses.cycle(
                there.occluded, coefficients, (found.density, there.density), (own, there.colour)
            )
            out["cycle"] = w.cycle_weight * terms.mean()
        shift = field.displacement(params, self.config, found.coefficients, start[:, None], near[:, None])
        world = self.space.world_from_field(s.points + shift)
        if w.path_weight:
            unit = self.space.scale
            last = self.space.world_from_field(there.points)
            empty = losses.emptiness(found.density)
            parts = losses.path_terms(s.world / unit, world / unit, last / unit, empty)
            out["path"] = w.path_weight * sum(p.mean() for p in parts)
        if self.path and batch.flow is not None and w.flow_weight:
            # A pixel's surface is held to where flow leads it: the frame beside it, and one far off, which tells far
            # more of the slow cosines of its path.
            gap = self._flow_gap(
                batch, neighbour, self._surface(s, weights, both.moving, world), _picked(batch.flow, step),
                _picked(batch.flow_valid, step),
            )  # fmt: skip
            out["flow"] = w.flow_weight * fading * gap.mean()
            if batch.far is not None:
                distant = batch.frame + batch.far_steps
                shift = field.displacement(
                    params, self.config, found.coefficients, start[:, None], self.track.time[distant][:, None]
                )
                carried = self.space.world_from_field(s.points + shift)
                gap = self._flow_gap(
                    batch, distant, self._surface(s, weights, both.moving, carried),
                    batch.far - batch.place, batch.far_steps != 0,
                )  # fmt: skip
                walk = jnp.sqrt(jnp.maximum(jnp.abs(batch.far_steps), 1))  # how errors of flow add up
                out["flow_far"] = w.flow_weight * fading * (gap / walk).mean()
        return out

    def _surface(self, s: Samples, weights, share, world):
        """The point `(ray, 3)` that a ray sees, what moves of it moved to `world (ray, sample, 3)`."""
        place = share[..., None] * world + (1 - share[..., None]) * s.world
        total = jnp.maximum(weights.sum(-1, keepdims=True), 1e-3)
        return (weights[..., None] * place).sum(1) / total

    def _flow_gap(self, batch: Pixels, frame, place, flow, valid):
        """How far from where `flow` says the camera of `frame` sees `place (ray, 3)`."""
        seen = geometry.project(self.track.camera_to_world[frame], self.track.intrinsics[frame], place)
        return losses.flow_distance(seen, batch.place.astype(jnp.float32), flow, valid, self.width)
