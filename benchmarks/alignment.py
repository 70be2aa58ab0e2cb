"""The gradient through generalised Procrustes alignment against the supplement's dense Jacobian, and against frames.

`python -m benchmarks.alignment [--json FILE] [--quick]`

Dense: B (3F x 3F) and C (3F x 3PF) of Park, Lee, Kwak 2020 (eq. 12-19) built and solved in float32, the Jacobian
(3PF x 3PF) formed, a cotangent multiplied by it. Both begin at aligned shapes: the alignment itself is done before.
Time and memory against frames are those of the alignment and its gradient together; memory is what the compiled
program says it needs beside its arguments.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._common import alternate, compile_for, environment, figure, parser, report, summary
from jnrsfm.geometry.generalized_procrustes import align
from jnrsfm.geometry.rotations import skew


def shapes(frames: int, points: int, spread: float = 0.2) -> np.ndarray:
    """Deforming shapes in random orientation."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(points, 3)) + spread * rng.normal(size=(frames, points, 3))
    q, _ = np.linalg.qr(rng.normal(size=(frames, 3, 3)))
    q *= np.sign(np.linalg.det(q))[:, None, None]
    return (x @ q).astype(np.float32)


def whole(x, cotangent):
    """Alignment, and the cotangent pulled back by the library's rule."""
    return jax.vjp(lambda x: align(x)[0], x)[1](cotangent)[0]


def implicit(pullback, cotangent):
    """The cotangent pulled back by the library's rule, from the alignment's residuals."""
    return pullback(cotangent)[0]


def dense(aligned, cotangent):
    """The cotangent times the Jacobian, built, from aligned shapes and rotations."""
    y, r = aligned
    frames, points, _ = y.shape
    s = y.sum(0)
    m = jnp.einsum("kpi,pj->kij", y, s)
    h = jnp.einsum("kii->k", m)[:, None, None] * jnp.eye(3) - m
    cross = jnp.einsum("kpi,lpj->klij", y, y)
    coupling = jnp.einsum("klii->kl", cross)[:, :, None, None] * jnp.eye(3) - jnp.swapaxes(cross, -1, -2)
    b = jnp.einsum("kl,kij->kilj", jnp.eye(frames), h) - jnp.swapaxes(coupling, 1, 2)
    gauge = jnp.kron(jnp.ones((frames, frames)) / frames, jnp.eye(3))
    b = b.reshape(3 * frames, 3 * frames) + jnp.trace(h.mean(0)) * gauge
    # q_k from dX'_l:  -[s]_x dX'_k + sum_l [y_k]_x dX'_l
    c = -jnp.einsum("kl,pij->kilpj", jnp.eye(frames), skew(s))
    c = c + jnp.broadcast_to(jnp.swapaxes(skew(y), 1, 2)[:, :, None], (frames, 3, frames, points, 3))
    q = jnp.linalg.solve(b, c.reshape(3 * frames, -1)).reshape(frames, 3, -1)
    q = q - q[:1]
    turned = -jnp.einsum("kpij,kjn->kpin", skew(y), q)
    jacobian = turned.reshape(3 * points * frames, -1) + jnp.eye(3 * points * frames)
    jacobian = jnp.einsum("nlpi,lij->nlpj", jacobian.reshape(-1, frames, points, 3), r)
    jacobian = jacobian - jacobian.mean(2, keepdims=True)
    return (cotangent.reshape(-1) @ jacobian.reshape(3 * points * frames, -1)).reshape(y.shape)


def memory(function, *args) -> int:
    """Bytes of temporaries of the compiled program."""
    return jax.jit(function).lower(*args).compile().memory_analysis().temp_size_in_bytes


def main(argv: list[str] | None = None) -> dict:
    """Run, print and return the record."""
    args = parser(__doc__.splitlines()[0]).parse_args(argv)
    rounds = 5 if args.quick else 21
    figures, runs = {}, {}
    for frames, points in ((32, 17),) if args.quick else ((32, 17), (64, 28)):
        x = shapes(frames, points)
        cotangent = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
        aligned = jax.jit(align)(x)
        pullback = jax.jit(lambda x: jax.vjp(lambda x: align(x)[0], x)[1])(x)
        ours, _ = compile_for(implicit, pullback, cotangent)
        theirs, _ = compile_for(dense, aligned, cotangent)
        gap = float(np.linalg.norm(ours() - theirs()) / np.linalg.norm(theirs()))
        times = alternate({"implicit": ours, "dense": theirs}, rounds)
        name = f"{frames} frames, {points} points"
        ratio = np.median(times["dense"] / times["implicit"])
        figures[f"dense over implicit, {name}"] = figure(ratio, "x", "higher", 2.5, 50.0)
        runs[name] = {"difference": gap, **{k: summary(v) for k, v in times.items()}}
    counts = (100, 1000, 10_000)
    programs, need = {}, {}
    for frames in counts:
        x = shapes(frames, 17)
        programs[str(frames)], _ = compile_for(whole, x, x)
        need[frames] = memory(whole, x, x)
    times = alternate(programs, rounds)
    runs["frames, 17 points"] = {
        n: {**summary(times[str(n)]), "bytes": need[n], "bytes_a_frame": need[n] / n} for n in counts
    }
    per_frame = np.median(times["10000"] / times["1000"]) / 10
    figures["time a frame, 10000 over 1000 frames"] = figure(per_frame, "x", "lower", 2.0, 2.0)
    figures["memory a frame, 10000 over 1000 frames"] = figure(
        need[10_000] / need[1000] / 10, "x", "lower", 1.2, 1.2
    )
    record = {"benchmark": "alignment", **environment(), "figures": figures, "runs": runs}
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
