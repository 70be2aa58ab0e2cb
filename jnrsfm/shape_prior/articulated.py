r"""The energy of an articulated figure seen in clips: bones of constant length, motion that is smooth in depth too, and
poses that are few.

A frame's points x_fp (camera frame) lie near their observations in x and y. With s_f the scale of the frame (smooth in
time), the camera of unknown focal length sees them nearer where they are larger,

    X_fp,xy = s_f (1 + k_f x_fp,z) x_fp,xy,    X_fp,z = s_f x_fp,z,    k_f = k size_f,

size_f the size of the object's image and 1 / k the focal length in that unit, so that k_f is the object's size over its
distance (0: weak perspective). The middle of the image of the object stands for the axis of the camera. With

    E = sum_p w_fp t(x_fp - y_fp, sigma_pixel) + sum_e t(|X_fi - X_fj| - l_e, sigma_bone l)
        + sum_p t(second difference of X_fp, sigma_motion) + ((log s_f+1 - log s_f) / sigma_scale)^2 / 2
        + 1/2 sum_p (X_fp,z / sigma_depth)^2 + (k_f / sigma_near)^2 / 2 + 1/2 log det(I + C / sigma_shape^2)
        + (log(rms_fp X_fp,z / m) / sigma_relief)^2 / 2

each a mean over frames, in nats, distances in units of the object's size in the image; t(r, s) is 5/2 log(1 + |r/s|^2
/ 4), Student's with four degrees of freedom, since tracks jump and joints are not where they seem; that of motion is
taken of each coordinate by itself. C is the covariance of the shapes after their rotation onto the mean shape, as in
the Procrustean normal distribution, whose likelihood that of log det is. The term of the depths says that the object is
about as deep as wide. It is for noisy tracks of a camera that hardly turns, where all else is content with a figure
drawn out along the line of sight, whose bones then are as good as constant; else it may be as good as absent: an animal
that comes towards the camera is deeper than wide. The last term, weak and of all frames together, says as much of the
whole: m is the geometric mean of the object's two extents in the image. Without it some figures twice as deep as the
true one have an energy as low. The lengths l_e are unknown and found too.

Bones alone do not fix the depth: each may point to the camera or away from it, one choice for each bone and frame;
motion and the covariance decide. The sign of k tells a figure from its depth reflection, as far as the camera is near.
A descent cannot jump between such choices: `local_energy` says what a proposal costs, under the covariance as it is.

Source: ours; the covariance: Lee et al., CVPR 2013; bones and signs: Taylor, CVPR 2000, Wei and Chai, ICCV 2009.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jnrsfm.geometry.rotations import project_to_so3
from jnrsfm.linalg.proximal import log_determinant


class Tracks(NamedTuple):
    """What was seen: `points (frame, point, 2)` centred and of size 1 in each frame (or in all), `weights (frame,
    point)` (0: not seen), `follows (frame - 1,)` 1 where a frame follows its predecessor in a clip, `bones (bone,
    2)`, `length_of (bone,)`: which of the lengths is the bone's (left and right share one); `size (frame,)`: size of
    the image, about 1 in the mean."""

    points: Any
    weights: Any
    follows: Any
    bones: Any
    length_of: Any
    size: Any


class Figure(NamedTuple):
    """What is sought: `x (frame, point, 3)` in the camera frame, in the units of the tracks; `log_scale (frame,)`: log
    of s; `log_length (length,)`; `near (frame,)`: k_f of the module docstring."""

    x: Any
    log_scale: Any
    log_length: Any
    near: Any


class Sigmas(NamedTuple):
    """Standard deviations of the energy's terms, in units of the object's size; `free_scale`: 1, or 0 where all frames
    have one scale; `near`: of k_f. `extent`: m of the module docstring; `relief`: of the log of depth over it."""

    pixel: Any
    bone: Any
    motion: Any
    scale: Any
    shape: Any
    depth: Any
    free_scale: Any
    near: Any
    extent: Any
    relief: Any


class Prior(NamedTuple):
    """The distribution of aligned shapes: `mean (point, 3)` and, of its precision, `inverse (3 point, 3 point)`."""

    mean: Any
    inverse: Any


def _t(square: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Student's t with four degrees of freedom, of a squared standardised residual."""
    return 2.5 * jnp.log1p(square / 4)


def scaled(figure: Figure) -> Float[Array, "frame point 3"]:
    """X of the module docstring, centred."""
    z = figure.x[..., 2:]
    # nothing is behind the camera
    wide = figure.x[..., :2] * jnp.maximum(1 + figure.near[..., None, None] * z, 0.1)
    x = jnp.concatenate([wide, z], -1) * jnp.exp(figure.log_scale)[..., None, None]
    return x - x.mean(-2, keepdims=True)


def bone_lengths(
    x: Float[Array, "*batch point 3"], bones: Int[Array, "bone 2"]
) -> Float[Array, "*batch bone"]:
    """Lengths, smooth at 0."""
    gap = x[..., bones[:, 0], :] - x[..., bones[:, 1], :]
    return jnp.sqrt(jnp.sum(gap**2, -1) + 1e-6)


def _own_terms(figure: Figure, tracks: Tracks, sigmas: Sigmas) -> Float[Array, " frame"]:
    """`(frame,)` the energy without the covariance; what ties neighbours is given to the first of them."""
    x = scaled(figure)
    away = figure.x[..., :2] - tracks.points
    cost = jnp.sum(tracks.weights * _t(jnp.sum(away**2, -1) / sigmas.pixel**2), -1)
    length = jnp.exp(figure.log_length)[tracks.length_of]
    off = (bone_lengths(x, tracks.bones) - length) / (sigmas.bone * length.mean())
    cost = cost + jnp.sum(_t(off**2), -1)
    both = tracks.follows[1:] * tracks.follows[:-1]
    bend = (x[2:] - 2 * x[1:-1] + x[:-2]) / sigmas.motion
    bend = both * jnp.sum(_t(bend**2), (-2, -1))
    step = tracks.follows * ((figure.log_scale[1:] - figure.log_scale[:-1]) / sigmas.scale) ** 2 / 2
    pad = lambda a, n: jnp.concatenate([a, jnp.zeros(n, a.dtype)])
    # gauge: depths about 0, scales about 1
    middle = figure.x[..., 2].mean(-1)
    deep = jnp.sum(x[..., 2] ** 2, -1) / (2 * sigmas.depth**2)
    return (
        cost
        + pad(bend, 2)
        + pad(step, 1)
        + deep
        + 10 * middle**2
        + 0.005 * figure.log_scale**2
        + (figure.near / sigmas.near) ** 2 / 2
    )


def aligned(x: Float[Array, "frame point 3"], mean: Float[Array, "point 3"]) -> Float[Array, "frame 3 3"]:
    """Rotations R with x R near the mean shape."""
    return project_to_so3(jnp.einsum("fpi,pj->fij", x, mean))


def _turned(x, rotations):
    return jnp.einsum("fpi,fij->fpj", x, rotations).reshape(len(x), -1)


def _spread(figure: Figure, rotations) -> Float[Array, "frame number"]:
    """Aligned shapes less their mean, over the root of the frames: its Gram matrix is C."""
    y = _turned(scaled(figure), rotations)
    return (y - y.mean(0)) / len(y) ** 0.5


def energy(figure: Figure, rotations, tracks: Tracks, sigmas: Sigmas) -> Float[Array, ""]:
    """E of the module docstring, at given alignments `rotations (frame, 3, 3)`; the scales are taken about their mean,
    since all of it falls with the size."""
    figure = centred(figure)
    few = log_determinant(_spread(figure, rotations), sigmas.shape)
    square = jnp.mean(scaled(figure)[..., 2] ** 2) / sigmas.extent**2
    relief = jnp.log(square + 1e-4) / (2 * sigmas.relief)
    return _own_terms(figure, tracks, sigmas).mean() + few + relief**2 / 2


def centred(figure: Figure) -> Figure:
    """With scales whose geometric mean is 1."""
    return figure._replace(log_scale=figure.log_scale - figure.log_scale.mean())


def mean_shape(figure: Figure, rotations) -> Float[Array, "point 3"]:
    """Mean of the aligned shapes."""
    return _turned(scaled(figure), rotations).mean(0).reshape(-1, 3)


@jax.jit
def prior_of(figure: Figure, rotations, sigmas: Sigmas) -> Prior:
    """The distribution of the shapes as they are. By the concavity of log det, tr(inverse C) is above the last term of
    E up to a constant and touches it here."""
    c = _spread(figure, rotations) / sigmas.shape
    inverse = jnp.linalg.inv(jnp.eye(c.shape[1]) + c.T @ c) / sigmas.shape**2
    return Prior(mean_shape(figure, rotations), (inverse + inverse.T) / 2)


def local_energy(
    figure: Figure, rotations, tracks: Tracks, there: Float[Array, " frame"], prior: Prior, sigmas: Sigmas
) -> Float[Array, ""]:
    """Sum over the frames that are `there` (1, or 0) of E with the tangent of its last term: each frame on its own."""
    y = _turned(scaled(figure), rotations) - prior.mean.reshape(-1)
    shape = jnp.einsum("fi,ij,fj->f", y, prior.inverse, y) / 2
    return jnp.sum(there * (_own_terms(figure, tracks, sigmas) + shape))
