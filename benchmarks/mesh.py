"""The deformation layer against the triangular solves of its textbook form, and silhouettes a mesh.

`python -m benchmarks.mesh [--json FILE] [--quick]`

A ball of about 640 vertices with 16 handles. *deform*: a batch of 64 meshes, forward and backward for A and the
handles, with the factorisation. *solves*: two triangular solves of the 192 columns of the batch, what a direct solution
of W V = b costs forward with the factor at hand. *folded*: V = C + D H of the batch. *silhouettes*: 16 meshes at 128
pixels, forward and backward; *deodr* the same by DEODR where it is installed. In turns, and in process seconds, the
least of the rounds: what else runs then does not count. A mesh is 1/16 of a call.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._common import alternate, compile_for, environment, figure, parser, report, summary
from jnrsfm.errors import InputError
from jnrsfm.geometry.mesh import TriangleMesh, coverage, deform, fold, handle_model, outline_of
from jnrsfm.geometry.mesh.silhouette_deodr import coverage_deodr

BATCH, HANDLES, MESHES, SIZE = 64, 16, 16, 128


def ball(times: int) -> TriangleMesh:
    """A sphere, marched over a grid of `2 times + 1` points a side."""
    from jnrsfm.datasets.render.mesh import march

    axis = np.linspace(-1.35, 1.35, 2 * times + 1) + 0.013
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    vertices, faces = march(np.linalg.norm(grid, axis=-1) - 1, grid)
    vertices = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    return TriangleMesh(vertices.astype(np.float32), faces.astype(np.int32))


def main(argv: list[str] | None = None) -> dict:
    """Measure, print, and return the record."""
    args = parser(__doc__ or "").parse_args(argv)
    rounds = 5 if args.quick else 25
    mesh = ball(5)
    model = handle_model(mesh, HANDLES)
    n = len(mesh.vertices)
    rng = np.random.default_rng(0)
    handles = jnp.asarray(
        model.weights @ model.rest + 0.1 * rng.normal(size=(BATCH, HANDLES, 3)), jnp.float32
    )
    gram, rest, logits = (jnp.asarray(x) for x in (model.gram, model.rest, model.logits))
    pick = jnp.asarray(rng.normal(size=(BATCH, n, 3)), jnp.float32)

    def layer(logits, handles):
        return (pick * deform(gram, rest, jax.nn.softmax(logits), handles)).sum()

    factor = jnp.linalg.cholesky(gram + jnp.asarray(model.weights.T @ model.weights))
    columns = pick.transpose(1, 0, 2).reshape(n, -1)

    def solves(factor, columns):
        down = jax.scipy.linalg.solve_triangular(factor, columns, lower=True)
        return jax.scipy.linalg.solve_triangular(factor, down, lower=True, trans=1)

    c, d = (jnp.asarray(x, jnp.float32) for x in fold(model.gram, model.rest, model.weights))
    outline = outline_of(mesh.faces)
    turn = np.linalg.qr(rng.normal(size=(MESHES, 3, 3)))[0]
    points = jnp.asarray(np.einsum("vj,mij->mvi", mesh.vertices, turn)[..., :2] * 40 + 63.3, jnp.float32)
    target = coverage(outline, points + 3.0, (SIZE, SIZE))
    scored = lambda draw: jax.grad(lambda p: ((draw(p) - target) ** 2).sum())
    functions = {
        "deform": compile_for(jax.grad(layer, (0, 1)), logits, handles)[0],
        "solves": compile_for(solves, factor, columns)[0],
        "folded": compile_for(lambda h: c + jnp.einsum("vk,bkj->bvj", d, h), handles)[0],
        "silhouettes": compile_for(scored(lambda p: coverage(outline, p, (SIZE, SIZE))), points)[0],
    }
    try:
        functions["deodr"] = compile_for(scored(lambda p: coverage_deodr(outline, p, (SIZE, SIZE))), points)[
            0
        ]
    except InputError as error:
        print(f"without DEODR: {error}")
    times = alternate(functions, rounds)
    spent: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, run in functions.items():
            begun = time.process_time()
            jax.block_until_ready(run())
            spent[name].append(time.process_time() - begun)
    least = {name: min(values) for name, values in spent.items()}
    each = least["silhouettes"] / MESHES
    ratio = {name: least[name] / least["solves"] for name in ("deform", "folded")}
    figures = {
        "deformation over two triangular solves": figure(ratio["deform"], "", "lower", 1.5, 3.0),
        "folded over two triangular solves": figure(ratio["folded"], "", "lower", 2.0),
        "silhouette, a mesh": figure(1e3 * each, "ms of one core", "lower", 2.0, 5.0),
    }
    if "deodr" in times:
        figures["silhouettes over DEODR's"] = figure(least["silhouettes"] / least["deodr"], "", "lower", 2.0)
    record = {
        "benchmark": "mesh", **environment(), "rounds": rounds, "vertices": n, "faces": len(mesh.faces),
        "times": {name: summary(t) for name, t in times.items()}, "figures": figures,
    }  # fmt: skip
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
