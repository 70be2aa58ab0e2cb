r"""Rays against shapes, in closed form: rounded cones, boxes, planes and the sphere around the scene.

A ray of the camera is `t (u, v, 1)` in the camera frame, so that `t` is the depth z. A shape stands in a
local frame of its own; `inverse (3, 3)` maps camera directions to it and `eye (3,)` is the camera's centre
there: `q = eye + t inverse @ d`. The map may shear and stretch: a rounded cone squeezed along one axis is a
torso, and a sphere an ellipsoid.

Rounded cone: the union of the balls of centre `(0, 0, s L)` and radius `a - s (a - b)`, s in [0, 1]. With
`r = a - b`, `k = L^2 - r^2`, a point q lies inside where `min_s |q - (0, 0, s L)|^2 - (a - s r)^2 <= 0`;
the minimum over all s is at `s = (L q_z - a r) / k`, which makes it a quadratic in t, valid where s is in
[0, 1]; elsewhere one of the two balls is met first. Where `k <= 0` one ball holds the other."""

import jax.numpy as jnp
import numpy as np

FAR = 1e9  # a depth that is none
NEAR = 1e-3


def _root(x):
    return jnp.sqrt(jnp.maximum(x, 0.0))


def local_ray(inverse, eye, u, v):
    """Ray directions (three arrays) in the local frame, for `u, v` of any one shape, and the three numbers
    `eye`."""
    d = tuple(inverse[i, 0] * u + inverse[i, 1] * v + inverse[i, 2] for i in range(3))
    return d, (eye[0], eye[1], eye[2])


def cone_depth(d, o, size):
    """Depth t > 0 at which rays `o + t d` (three arrays or numbers each, local frame) meet a rounded cone of
    `size (3,)`, length L and radii a, b, from outside; `FAR` where they do not.

    Everything is measured from the point of the ray that is nearest to the first ball, for precision.
    """
    length, a, b = size[0], size[1], size[2]
    dd = d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
    per = 1.0 / dd
    t0 = -(o[0] * d[0] + o[1] * d[1] + o[2] * d[2]) * per
    p = tuple(o[i] + t0 * d[i] for i in range(3))
    pp = p[0] * p[0] + p[1] * p[1] + p[2] * p[2]

    r = a - b
    k = length * length - r * r
    n = length * d[2]
    m = length * p[2] - r * a
    qa, qb, qc = k * dd - n * n, -m * n, k * (pp - a * a) - m * m
    h = qb * qb - qa * qc
    w = _root(h)
    # The root where the ray comes in, (-qb - w) / qa, without cancellation and for qa = 0.
    side = qb < 0
    s = jnp.where(side, qc, -qb - w) / jnp.where(side, w - qb, jnp.where(qa == 0, 1.0, qa))
    y = m + s * n
    lateral = (h > 0) & (y > 0) & (y < k)
    ha = dd * (a * a - pp)
    far = length * length - 2 * length * p[2] + pp - b * b
    hb = n * n - dd * far
    first = jnp.where(ha > 0, -_root(ha) * per, FAR)
    last = jnp.where(hb > 0, (n - _root(hb)) * per, FAR)
    t = t0 + jnp.where(lateral, s, jnp.minimum(first, last))
    return jnp.where((t > NEAR) & (t < FAR / 2), t, FAR)


def box_depth(d, o):
    """Depth t > 0 at which rays `o + t d` meet the cube [-1, 1]^3 from outside; `FAR` where they do not."""
    low, high = jnp.float32(-FAR), jnp.float32(FAR)
    for i in range(3):
        per = 1.0 / jnp.where(d[i] == 0, 1e-20, d[i])
        one, two = (-1 - o[i]) * per, (1 - o[i]) * per
        low, high = jnp.maximum(low, jnp.minimum(one, two)), jnp.minimum(high, jnp.maximum(one, two))
    return jnp.where((low < high) & (low > NEAR), low, FAR)


def plane_depth(inverse, eye, u, v):
    """Depth at which rays meet the plane z = 0 from its positive side; `FAR` where they do not."""
    z = inverse[2, 0] * u + inverse[2, 1] * v + inverse[2, 2]
    t = -eye[2] / jnp.where(z == 0, 1e-20, z)
    return jnp.where((t > NEAR) & (t < FAR / 2) & (eye[2] > 0), t, FAR)


def dome_depth(inverse, eye, u, v):
    """Depth at which rays leave the unit ball that they start in."""
    d, o = local_ray(inverse, eye, u, v)
    dd = sum(x * x for x in d)
    od = sum(x * y for x, y in zip(o, d, strict=True))
    oo = sum(x * x for x in o)
    return (-od + _root(od * od - dd * (oo - 1.0))) / dd


def cone_normal(size, q):
    """Outward normals in the local frame, not normalised, of a rounded cone at surface points `q` (three
    arrays).

    `size` (three arrays) may differ from point to point.
    """
    length, a, b = size
    r = a - b
    k = length * length - r * r
    s = jnp.clip((length * q[2] - a * r) / jnp.where(k > 1e-12, k, 1.0), 0.0, 1.0)
    # One ball inside the other: the larger one is the shape.
    s = jnp.where(k > 1e-12, s, jnp.where(r < 0, 1.0, 0.0))
    return q[0], q[1], q[2] - s * length


def box_normal(q):
    """Outward normals of the cube [-1, 1]^3 at surface points `q` (three arrays)."""
    size = [jnp.abs(x) for x in q]
    most = jnp.maximum(jnp.maximum(size[0], size[1]), size[2])
    return tuple(jnp.where(s >= most, jnp.sign(x), 0.0) for s, x in zip(size, q, strict=True))


def ball_bounds(centre, spread):
    """Bounds of the image of an ellipsoid: `(u_min, u_max, v_min, v_max)` in ray coordinates, each
    `(...,)`; NumPy.

    `centre (..., 3)` in the camera frame and `spread (..., 3, 3)`, its matrix S: the points c + S^(1/2) x,
    |x| <= 1. The plane through the camera with normal n = (1, 0, -u) touches it where `(n c)^2 = n S n`, a
    quadratic in u. Everything where it reaches behind the camera."""
    ends = []
    for i in (0, 1):
        a = centre[..., 2] ** 2 - spread[..., 2, 2]
        b = centre[..., i] * centre[..., 2] - spread[..., i, 2]
        c = centre[..., i] ** 2 - spread[..., i, i]
        whole = (a <= 1e-9) | (centre[..., 2] <= 0)
        w = np.sqrt(np.maximum(b * b - a * c, 0.0))
        safe = np.where(whole, 1.0, a)
        ends += [np.where(whole, -FAR, (b - w) / safe), np.where(whole, FAR, (b + w) / safe)]
    return tuple(ends)


def flat_bounds(centre, spread, across):
    """Bounds of the shadow of an ellipsoid on the plane of `across (2, 3)`, orthonormal rows; as
    `ball_bounds`."""
    ends = []
    for e in across:
        middle, half = centre @ e, np.sqrt(np.maximum(np.einsum("...ij,i,j->...", spread, e, e), 0))
        ends += [middle - half, middle + half]
    return tuple(ends)


def bounds_of(linear, centre, size, live, cones: int, boxes: int, across=None):
    """`(shape, 4)`: low and high in two coordinates of cones, then boxes, that `linear (shape, 3, 3)` and
    `centre (shape, 3)` put in the camera frame; an empty range where not `live`. NumPy, float64.

    The coordinates are those of the image, u and v, or along the rows of `across (2, 3)`.
    """
    of = ball_bounds if across is None else lambda c, s: flat_bounds(c, s, across)
    last = cones + boxes
    linear, centre, size = linear[:last], centre[:last], size[:last]
    cone = np.arange(last) < cones
    gram = np.einsum("kij,klj->kil", linear, linear)
    # A cube lies in the ball of radius sqrt(3).
    first = np.where(cone, size[:, 1] ** 2, 3.0)[:, None, None]
    second = np.where(cone, size[:, 2] ** 2, 3.0)[:, None, None]
    one = of(centre, gram * first)
    two = of(centre + linear[:, :, 2] * (size[:, :1] * cone[:, None]), gram * second)
    ends = [np.minimum(one[i], two[i]) if i % 2 == 0 else np.maximum(one[i], two[i]) for i in range(4)]
    return np.where(live[:last, None], np.stack(ends, -1), [FAR, -FAR, FAR, -FAR])
