r"""Evidence that two shapes are, or are not, reflections of each other in depth: distances of pairs, and votes.

The pairs' side of `depth_reflection`. NumPy, float64, on the host.
"""

import numpy as np
from jaxtyping import Float

CHUNK = 1 << 14  # pairs at a time: bounds the memory of the gathered shapes
FLOOR = 1e-6  # squared: distances below 0.1 % of the size of a shape are rounding, not evidence
_CERTAIN = np.log(10.0)  # a pair is certain when the mirrored squared distance is ten times the other
_REACH = 4.0
_NOTHING = 1e-3  # evidence below this is rounding


def mirror_distances(
    a: Float[np.ndarray, "pair point 3"],
    b: Float[np.ndarray, "pair point 3"],
    weights: Float[np.ndarray, "pair point"] | None = None,
) -> tuple[Float[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    r"""Aligned squared distances of two shapes, as they are and with one of them mirrored.

        d^2 = min over proper R and translation of |A/|A| - B/|B| R^T|^2 = 2 - 2 (s1 + s2 +- s3 sign(det M)),

    with centred, unit-size shapes and the singular values of `M = A^T W B` in closed form: eigenvalues of
    `M^T M` by the trigonometric formula, and `sign(det) s3 = det M / (s1 s2)`, which keeps full relative
    accuracy where the shapes are nearly planar. Both lie in [0, 2]; a pair without size (all points in one
    place, or no weight in common) gives 2 and 2, that is, no evidence. `weights` count each point in the
    centroid, the size and M. Source: Umeyama, TPAMI 13(4), 1991 for the alignment.
    """
    w = np.ones(a.shape[:2]) if weights is None else weights
    total = np.maximum(w.sum(1), 1e-300)[:, None, None]
    a = a - np.einsum("np,npi->ni", w, a)[:, None] / total
    b = b - np.einsum("np,npi->ni", w, b)[:, None] / total
    size = np.sqrt(np.einsum("np,npi,npi->n", w, a, a) * np.einsum("np,npi,npi->n", w, b, b))
    m = (a * w[..., None]).mT @ b
    m = np.divide(m, size[:, None, None], out=np.zeros_like(m), where=size[:, None, None] > 0)
    k = m.mT @ m
    mean = np.trace(k, axis1=1, axis2=2) / 3
    k = k - mean[:, None, None] * np.eye(3)
    spread = np.sqrt(np.einsum("nij,nij->n", k, k) / 6)
    k = k / np.maximum(spread, 1e-300)[:, None, None]
    angle = np.arccos(np.clip(_det3(k) / 2, -1, 1)) / 3
    first = mean + 2 * spread * np.cos(angle)
    third = mean + 2 * spread * np.cos(angle + 2 * np.pi / 3)
    s1, s2 = np.sqrt(np.maximum([first, 3 * mean - first - third], 0))
    signed = _det3(m) / np.maximum(s1 * s2, 1e-300)
    signed = np.clip(signed, -s2, s2)  # of rank one: s1 s2 is rounding
    same, mirrored = 2 - 2 * (s1 + s2 + signed), 2 - 2 * (s1 + s2 - signed)
    return np.clip(same, 0, 2), np.clip(mirrored, 0, 2)


def _det3(m):
    """Determinants of 3x3 matrices, written out: an LU factorisation each costs ten times as much."""
    return np.einsum("ni,ni->n", m[:, 0], np.cross(m[:, 1], m[:, 2]))


def pair_distances(shapes, weights, i, j):
    """`mirror_distances` of the frames i and j, a chunk of pairs at a time."""
    out = np.empty((2, len(i)))
    for start in range(0, len(i), CHUNK):
        cut = slice(start, start + CHUNK)
        w = None if weights is None else weights[i[cut]] * weights[j[cut]]
        out[:, cut] = mirror_distances(shapes[i[cut]], shapes[j[cut]], w)
    return out


def pair_evidence(same, mirrored, noise):
    """Evidence in [-1, 1] that a pair has one depth reflection: the clipped log ratio of the two squared distances.

    `noise` is the squared distance that pairs of the right relation typically have: differences below it say
    little. A pair that is far apart under both relations (a fast movement, a bad frame, a neighbour that is
    none) is discounted, to one half where its nearer relation exceeds the noise by `_REACH` times the noise.
    Planar and mirror-symmetric pairs have equal distances and no evidence at all.
    """
    evidence = np.clip(np.log((noise + mirrored) / (noise + same)) / _CERTAIN, -1, 1)
    excess = np.maximum(np.minimum(same, mirrored) - noise, 0)
    evidence *= _REACH * noise / (_REACH * noise + excess)
    return np.where(np.abs(evidence) < _NOTHING, 0.0, evidence)


def margin_of(loss, flawless):
    """The margin of `MirrorResolution` from a loss of evidence and what flawless evidence would lose."""
    share = np.maximum(loss, 0) / np.maximum(flawless, 1e-300)
    return np.tanh(10 * np.where(flawless > 0, share, 0.0))


def image_votes(misfits: Float[np.ndarray, "frame 2"]) -> Float[np.ndarray, " frame"]:
    """What perspective images say of the reflection of each frame, in [-1, 1]: above 0 to leave it as it is.

    `misfits`: squared misfit of the frame as it is, and reflected. Evidence as of pairs (`pair_evidence`); the noise is
    what the better reflection typically leaves.
    """
    noise = max(float(np.median(misfits.min(1))), FLOOR) if len(misfits) else FLOOR
    return pair_evidence(misfits[:, 0], misfits[:, 1], noise)
