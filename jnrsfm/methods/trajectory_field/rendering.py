"""Samples along rays, and the two fields blended and rendered: what training and views share."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jnrsfm.geometry import rays as geometry
from jnrsfm.geometry.scene_space import SceneSpace
from jnrsfm.models import field
from jnrsfm.models.field import FieldConfig


class Sampling(NamedTuple):
    """How rays are sampled: `samples` of them, found by `coarse` ones (0: evenly), spaced evenly in `spacing`."""

    samples: int
    coarse: int
    spacing: geometry.Spacing = "depth"


class Rays(NamedTuple):
    """`origin`, `direction (ray, 3)` of depth one, `near`, `far (ray,)` depths, `time (ray,)` in frames."""

    origin: Any
    direction: Any
    near: Any
    far: Any
    time: Any


class Samples(NamedTuple):
    """Samples of rays: `shares`, `depths`, `length (ray, sample)` in field units, `world`, `points (ray, sample, 3)` in
    the world and in the field, `view (ray, 1, 3)` the unit direction."""

    shares: Any
    depths: Any
    length: Any
    world: Any
    points: Any
    view: Any


class Mixed(NamedTuple):
    """Both fields together: `density`, `moving` (the share of it that moves), `colour (ray, sample, 3)`."""

    density: Any
    moving: Any
    colour: Any


def rays_of(camera_to_world: Any, intrinsics: Any, pixels: Any, bounds: Any, time: Any) -> Rays:
    """Rays of pixels, each with its camera, bounds (near, far) and time in frames."""
    origin, direction = geometry.pixel_rays(camera_to_world, intrinsics, pixels)
    return Rays(origin, direction, bounds[..., 0], bounds[..., 1], time)


def placed(space: SceneSpace, rays: Rays, shares: Any, spacing: geometry.Spacing) -> Samples:
    """The samples at `shares (ray, sample)` of the way. Outside the box of a scene that has one, lengths are 0."""
    depths = geometry.depth_of(shares, rays.near[:, None], rays.far[:, None], spacing)
    world = rays.origin[:, None] + depths[..., None] * rays.direction[:, None]
    points = space.field_from_world(world)
    end = space.field_from_world(rays.origin + rays.far[:, None] * rays.direction)
    length = geometry.chords(points, end)
    if space.kind == "box":
        length = jnp.where((jnp.abs(points) <= 1).all(-1), length, 0.0)
    view = rays.direction / jnp.linalg.norm(rays.direction, axis=-1, keepdims=True)
    return Samples(shares, depths, length, world, points, view[:, None])


def sampled(
    params: Any, config: FieldConfig, space: SceneSpace, sampling: Sampling, rays: Rays, key: Any
) -> Samples:
    """Samples where the field has density, found by coarse ones without gradient; `key` None: nothing is drawn."""
    first, second = (None, None) if key is None else jax.random.split(key)
    n = rays.time.shape
    if not sampling.coarse:
        shares = geometry.stratified(first, n, sampling.samples)
        return placed(space, rays, shares, sampling.spacing)
    coarse = placed(space, rays, geometry.stratified(first, n, sampling.coarse), sampling.spacing)
    found = field.density(jax.lax.stop_gradient(params), config, coarse.points, rays.time[:, None])
    weights, _ = geometry.volume_weights(found, coarse.length)
    # A surface between two samples belongs to both.
    wide = jnp.maximum(weights, jnp.pad(weights[:, 1:], ((0, 0), (0, 1))))
    shares = geometry.resampled(second, coarse.shares, wide, sampling.samples, 0.1)
    return placed(space, rays, shares, sampling.spacing)


def mixed(still: tuple[Any, Any, Any] | None, density: Any, colour: Any) -> Mixed:
    """Blend `still`, the static field's (density, share, colour), with the moving one's density and colour:
    density `b s + (1 - b) s'`, colours in the shares of their densities. None of one: the other alone."""
    if still is None:
        return Mixed(density, jnp.ones_like(density), colour)
    if density is None:
        return Mixed(still[0], jnp.zeros_like(still[0]), still[2])
    a, b = still[1] * still[0], (1 - still[1]) * density
    share = b / jnp.maximum(a + b, 1e-8)
    return Mixed(a + b, share, (1 - share)[..., None] * still[2] + share[..., None] * colour)


def image_of(weights: Any, passed: Any, colour: Any, background: Any = None) -> Any:
    """Colours of rays `(ray, 3)`: the weighted samples, and the background through what passes."""
    found = (weights[..., None] * colour).sum(-2)
    return found if background is None else found + passed[..., None] * jnp.asarray(background, found.dtype)


def still_of(params: Any, config: FieldConfig, samples: Samples) -> tuple[Any, Any, Any] | None:
    """The static field's (density, share, colour) at samples, or None."""
    if not config.static:
        return None
    found = field.static_field(params, config, samples.points)
    colour = field.colour(params["static"], config, found.embedding, samples.view)
    return found.density, found.share, colour


def rendered(
    params: Any,
    config: FieldConfig,
    space: SceneSpace,
    sampling: Sampling,
    rays: Rays,
    background: Any = None,
) -> tuple[Any, Any, Any, Any]:
    """Of rays: colour `(ray, 3)`, depth, opacity, share of the opacity that moves. Nothing is drawn at random."""
    s = sampled(params, config, space, sampling, rays, None)
    density = colour = None
    if config.dynamic:
        time = rays.time[:, None]
        found = field.dynamic_field(params, config, s.points, time)
        density, colour = (
            found.density,
            field.colour(params["dynamic"], config, found.embedding, s.view, time),
        )
    both = mixed(still_of(params, config, s), density, colour)
    weights, passed = geometry.volume_weights(both.density, s.length)
    total = jnp.maximum(weights.sum(-1), 1e-6)
    return (
        image_of(weights, passed, both.colour, background),
        (weights * s.depths).sum(-1) / total,
        1 - passed,
        (weights * both.moving).sum(-1),
    )
