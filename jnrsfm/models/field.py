r"""Fields over space and time as pure functions of a pytree: density, colour, and a DCT path at every point.

At a place u of the cube [-1, 1]^3 and a time (in frames, T of them) the dynamic field gives the density s >= 0, the
coefficients phi of the point's path, and an embedding w of its colour, which a second function turns into colour for a
viewing direction and a time of its own: `(phi, w, s) = Psi(u, t)`, `c(t', d) = f_colour(t', d, w)`. The path is
`T(t') = B(t') phi` with B the DCT without its constant (`geometry.trajectory`), so that a point moves by
`(B(t1) - B(t0)) phi`. The static field gives density, colour, and the share b in [0, 1] of each place that is static.

Two kinds. `mlp`: positional encodings and a perceptron, as published. `planes`: features are products of bilinear
look-ups in planes of space (xy, xz, yz) and of space and time (xt, yt, zt), which a small perceptron decodes; what a
gradient of either costs, `benchmarks/field.py` measures.

Source: Wang, thesis, 2022, eq. 6.1-6.3, sec. 6.3.4, 6.5; blending: Li et al., CVPR 2021; planes: Fridovich-Keil et
al., CVPR 2023.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jnrsfm.geometry.trajectory import dct_displacement_basis, dct_displacements_at
from jnrsfm.scenes import FieldConfig as FieldConfig

Params = Any
SPACE = ((0, 1), (0, 2), (1, 2))  # axes of the planes of space
SPACETIME = ((0, 3), (1, 3), (2, 3))
DENSITY, EMPTY = 20.0, -4.0  # density of a raw value r: DENSITY softplus(r + EMPTY)


class Dynamic(NamedTuple):
    """Values of the dynamic field: `density (*batch)`, `coefficients (*batch, basis, 3)` of the path in field
    coordinates, `embedding (*batch, e)` of the colour."""

    density: Any
    coefficients: Any
    embedding: Any


class Static(NamedTuple):
    """Values of the static field: `density (*batch)`, `share (*batch)` b in [0, 1] that is static, `embedding`."""

    density: Any
    share: Any
    embedding: Any


def encoding(x: Float[Array, "*batch d"], frequencies: int) -> Float[Array, "*batch e"]:
    r"""x and `sin, cos (2^l pi x)` for l = 0 .. frequencies - 1: `e = d (2 frequencies + 1)`."""
    scaled = x[..., None, :] * (jnp.pi * 2.0 ** jnp.arange(frequencies))[:, None]
    waves = jnp.concatenate([jnp.sin(scaled), jnp.cos(scaled)], -2)
    return jnp.concatenate([x, waves.reshape(*x.shape[:-1], -1)], -1)


_DIMS = {"start_index_map": (0, 1, 2), "collapsed_slice_dims": (0,), "offset_dims": (2, 3, 4)}


@jax.custom_vjp
def bilinear(planes: Float[Array, "p h w c"], at: Float[Array, "n p 2"]) -> Float[Array, "n p c"]:
    """Values of planes between their nodes; `at` in [-1, 1] from the first node to the last, clipped there.

    The derivative along `at` is that of the cell on the side of the higher node, 0 beyond the border. Its rule is
    written out: left to itself the gradient takes twice as long on a CPU."""
    return _bilinear(planes, at)[0]


def _bilinear(planes, at):
    size = jnp.array(planes.shape[1:3], at.dtype)
    free = (at + 1) / 2 * (size - 1)
    place = jnp.clip(free, 0, size - 1)
    corner = jnp.clip(jnp.floor(place), 0, size - 2)
    f = place - corner
    which = jnp.broadcast_to(jnp.arange(len(planes), dtype=jnp.int32)[:, None], (*at.shape[:2], 1))
    index = jnp.concatenate([which, corner.astype(jnp.int32)], -1)
    four = jax.lax.gather(
        planes, index, jax.lax.GatherDimensionNumbers(**_DIMS), (1, 2, 2, planes.shape[3]),
        mode=jax.lax.GatherScatterMode.CLIP,
    )  # fmt: skip
    x, y = (jnp.stack([1 - f[..., i], f[..., i]], -1) for i in (0, 1))
    inside = (free == place).astype(at.dtype) * (size - 1) / 2
    # As one contraction: as products and a sum it takes five times as long.
    return jnp.einsum("npabc,npa,npb->npc", four, x, y), (planes, index, four, x, y, inside)


def _bilinear_back(kept, given):
    planes, index, four, x, y, inside = kept
    given = jax.lax.optimization_barrier(given)  # else it is worked out anew for each of the neighbours
    dims = jax.lax.ScatterDimensionNumbers(
        update_window_dims=(2, 3, 4), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0, 1, 2)
    )
    updates = jax.lax.optimization_barrier(
        x[..., :, None, None] * y[..., None, :, None] * given[..., None, None, :]
    )
    back = jax.lax.scatter_add(
        jnp.zeros_like(planes), index, updates, dims, mode=jax.lax.GatherScatterMode.CLIP
    )
    dots = jnp.einsum("npabc,npc->npab", four, given)
    along_x = ((dots[..., 1, :] - dots[..., 0, :]) * y).sum(-1)
    along_y = ((dots[..., :, 1] - dots[..., :, 0]) * x).sum(-1)
    return back, jnp.stack([along_x, along_y], -1) * inside


bilinear.defvjp(_bilinear, _bilinear_back)


def _dense(key, n_in: int, n_out: int, scale: float = 1.0) -> dict[str, Any]:
    bound = scale * (6.0 / n_in) ** 0.5
    return {"w": jax.random.uniform(key, (n_in, n_out), minval=-bound, maxval=bound), "b": jnp.zeros(n_out)}


def _apply(layer: dict[str, Any], x: Any) -> Any:
    return x @ layer["w"] + layer["b"]


def _planes(key, moving: bool, resolution: int, times: int, channels: int) -> dict[str, Any]:
    """Planes of space near a third, planes of space and time at one: at first nothing depends on time."""
    shape = (3, resolution, resolution, channels)
    found = {"space": jax.random.uniform(key, shape, minval=0.1, maxval=0.5)}
    return found | {"time": jnp.ones((3, resolution, times, channels))} if moving else found


def _stacked(part: Params, config: FieldConfig) -> dict[str, Any]:
    """All planes of a part as one set: the coarse ones spread over the nodes of the fine ones, channels after theirs.

    One look-up of more channels is half the work of two."""
    if not config.coarse:
        return part["planes"]

    def spread(fine, coarse):
        for axis in (1, 2):
            n, m = coarse.shape[axis], fine.shape[axis]
            if n != m:
                at = jnp.linspace(0.0, n - 1, m)[:, None]
                coarse = jnp.moveaxis(
                    jnp.tensordot(jnp.maximum(0, 1 - jnp.abs(at - jnp.arange(n))), coarse, (1, axis)), 0, axis
                )
        return jnp.concatenate([fine, coarse], -1)

    return {name: spread(fine, part["coarse"][name]) for name, fine in part["planes"].items()}


def _features(planes: dict[str, Any], at: Any) -> Any:
    """Products of the look-ups in all planes, of points `at (n, 3 or 4)`."""
    columns = [at[:, i] for i in range(at.shape[1])]
    pairs = lambda axes: jnp.stack([jnp.stack([columns[a], columns[b]], -1) for a, b in axes], 1)
    product = lambda x: x[:, 0] * x[:, 1] * x[:, 2]
    found = product(bilinear(planes["space"], pairs(SPACE)))
    return found * product(bilinear(planes["time"], pairs(SPACETIME))) if "time" in planes else found


def _part(key, config: FieldConfig, moving: bool) -> Params:
    """Parameters of the dynamic or of the static field."""
    k = jax.random.split(key, config.layers + 5)
    e, times = config.embedding, max(config.time_resolution or config.n_times, 2)
    if config.kind == "planes":
        resolution = config.resolution if moving else config.static_resolution
        found: dict[str, Any] = {"planes": _planes(k[0], moving, resolution, times, config.channels)}
        n_in = config.channels
        if config.coarse:
            found["coarse"] = _planes(k[1], moving, config.coarse, times, config.channels)
            n_in += config.channels
    else:
        found, n_in = {}, (4 if moving else 3) * (2 * config.frequencies + 1)
    found["trunk"] = [
        _dense(k[5 + i], n_in if i == 0 else config.width, config.width) for i in range(config.layers)
    ]
    found["density"] = _dense(k[2], config.width, 1, 0.3)
    found["embedding"] = _dense(k[3], config.width, e)
    if moving and config.n_basis:  # at first nothing moves
        found["coefficients"] = {
            "w": jnp.zeros((config.width, 3 * config.n_basis)), "b": jnp.zeros(3 * config.n_basis),
        }  # fmt: skip
    if not moving:
        found["share"] = _dense(k[4], config.width, 1, 0.3)
    seen = 3 * (2 * config.view_frequencies + 1)
    seen += (2 * config.view_frequencies + 1) if moving and config.timed_colour else 0
    a, b = jax.random.split(jax.random.fold_in(key, 1))
    found["colour"] = [_dense(a, e + seen, config.width), _dense(b, config.width, 3, 0.3)]
    return found


def init_field(key: Any, config: FieldConfig) -> Params:
    """Fresh parameters: little density everywhere, grey, at rest."""
    a, b = jax.random.split(key)
    found = {}
    if config.dynamic:
        found["dynamic"] = _part(a, config, True)
        if config.n_basis and config.basis == "learned":
            found["basis"] = dct_displacement_basis(config.n_times, config.n_basis)
    if config.static:
        found["static"] = _part(b, config, False)
    return found


def _hidden(part: Params, config: FieldConfig, at: Any) -> Any:
    """Hidden features of points `at (n, 3 or 4)`."""
    if config.kind == "planes":
        x = _features(_stacked(part, config), at)
    else:
        x = encoding(at, config.frequencies)
    for layer in part["trunk"]:
        x = jax.nn.relu(_apply(layer, x))
    return x


def _density(part: Params, hidden: Any) -> Any:
    return DENSITY * jax.nn.softplus(_apply(part["density"], hidden)[..., 0] + EMPTY)


def _space_time(config: FieldConfig, points: Any, times: Any) -> Any:
    """`(n, 4)` with time in [-1, 1] from the first frame to the last."""
    tau = 2 * jnp.broadcast_to(times, points.shape[:-1]) / max(config.n_times - 1, 1) - 1
    return jnp.concatenate([points, tau[..., None]], -1).reshape(-1, 4)


def dynamic_field(
    params: Params, config: FieldConfig, points: Float[Array, "*batch 3"], times: Float[Array, "*#batch"]
) -> Dynamic:
    """Psi(u, t), eq. 6.1, of points in field coordinates at `times` in frames."""
    part, batch = params["dynamic"], points.shape[:-1]
    hidden = _hidden(part, config, _space_time(config, points, times))
    coefficients = None
    if config.n_basis:
        coefficients = _apply(part["coefficients"], hidden).reshape(*batch, config.n_basis, 3)
    embedding = _apply(part["embedding"], hidden).reshape(*batch, -1)
    return Dynamic(_density(part, hidden).reshape(batch), coefficients, embedding)


def static_field(params: Params, config: FieldConfig, points: Float[Array, "*batch 3"]) -> Static:
    """The static field at points in field coordinates."""
    part, batch = params["static"], points.shape[:-1]
    hidden = _hidden(part, config, points.reshape(-1, 3))
    share = jax.nn.sigmoid(_apply(part["share"], hidden)[..., 0]).reshape(batch)
    embedding = _apply(part["embedding"], hidden).reshape(*batch, -1)
    return Static(_density(part, hidden).reshape(batch), share, embedding)


def density(
    params: Params, config: FieldConfig, points: Float[Array, "*batch 3"], times
) -> Float[Array, "*batch"]:
    """Density of both fields together, `b s_static + (1 - b) s_dynamic`: no colour, no path."""
    batch, found = points.shape[:-1], jnp.zeros(points.shape[:-1])
    share: Any = 0.0
    if config.static:
        hidden = _hidden(params["static"], config, points.reshape(-1, 3))
        found = _density(params["static"], hidden).reshape(batch)
        if not config.dynamic:
            return found
        share = jax.nn.sigmoid(_apply(params["static"]["share"], hidden)[..., 0]).reshape(batch)
    at = _space_time(config, points, times)
    moving = _density(params["dynamic"], _hidden(params["dynamic"], config, at))
    return share * found + (1 - share) * moving.reshape(batch)


def colour(
    part: Params,
    config: FieldConfig,
    embedding: Float[Array, "*batch e"],
    directions: Float[Array, "*#batch 3"],
    times: Float[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch 3"]:
    """f_colour(t', d, w) of eq. 6.2, in [0, 1]; `part` is `params["dynamic"]`, or `params["static"]`, which has no
    time. `directions` of unit length, one for each ray: they may have fewer axes of their own than `embedding`."""
    seen = encoding(directions, config.view_frequencies)
    if times is not None and config.timed_colour:
        tau = 2 * times / max(config.n_times - 1, 1) - 1
        waves = encoding(tau[..., None], config.view_frequencies)
        seen = jnp.concatenate([seen, jnp.broadcast_to(waves, (*seen.shape[:-1], waves.shape[-1]))], -1)
    first, last = part["colour"]
    e = embedding.shape[-1]
    # The part of the first layer that is the same along a ray is worked out once for it.
    hidden = embedding @ first["w"][:e] + (seen @ first["w"][e:] + first["b"])
    return jax.nn.sigmoid(_apply(last, jax.nn.relu(hidden)))


def basis_at(
    params: Params, config: FieldConfig, times: Float[Array, "*batch"]
) -> Float[Array, "*batch basis"]:
    """Rows of the basis of paths at `times` in frames; a learned one is linear between frames."""
    if "basis" not in params:
        return dct_displacements_at(times, config.n_times, config.n_basis)
    nodes = jnp.maximum(
        0, 1 - jnp.abs(jnp.clip(times, 0, config.n_times - 1)[..., None] - jnp.arange(config.n_times))
    )
    return nodes @ params["basis"]


def displacement(
    params: Params, config: FieldConfig, coefficients: Float[Array, "*batch basis 3"], start, end
) -> Float[Array, "*batch 3"]:
    """How far points move from time `start` to time `end`: `(B(t1) - B(t0)) phi`, field coordinates."""
    rows = basis_at(params, config, end) - basis_at(params, config, start)
    return (rows[..., None] * coefficients).sum(-2)


def plane_roughness(params: Params) -> tuple[Any, Any]:
    """Mean squared difference of neighbouring nodes over all planes along space, and second difference along time."""
    space, time = [], []
    for part in ("dynamic", "static"):
        for name in ("planes", "coarse"):
            planes = params.get(part, {}).get(name, {})
            for plane in planes.values():
                space.append((jnp.diff(plane, axis=1) ** 2).mean())
            if "space" in planes:
                space.append((jnp.diff(planes["space"], axis=2) ** 2).mean())
            if "time" in planes and planes["time"].shape[2] > 2:
                time.append((jnp.diff(planes["time"], 2, axis=2) ** 2).mean())
    add = lambda terms: sum(terms, jnp.zeros(())) / max(len(terms), 1)
    return add(space), add(time)
