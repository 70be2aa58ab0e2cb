"""A perspective training step against an orthographic one, and against building each sample's dictionary.

`python -m benchmarks.perspective [--json FILE] [--quick] [--batch N]`

Perspective has 3x3 blocks (9 rows where weak perspective has 6) and a dictionary that depends on the rays of the
sample. The network meets it as three P-vectors times the shared dictionary; the alternative, built here, is the
dense `(2P, 9K)` dictionary of every sample. Both must give the same block codes.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._common import alternate, compile_for, environment, figure, parser, report, summary
from benchmarks._workload import Training, matmul_flops
from jnrsfm.geometry.normalization import adjoint_perspective, dictionary_perspective, measure_perspective


def first_layer(training: Training, batch: int) -> tuple:
    """The first layer's product, its value and gradient by the dictionary: structured, and materialised."""
    data = jax.tree.map(lambda x: x[:batch], training.data)
    first = training.state()[0]["first"]
    measured = measure_perspective(data.points, data.weights, data.depth)

    def structured(first):
        g = adjoint_perspective(measured, data.points, data.weights)
        return (g.reshape(-1, g.shape[-1]) @ first.reshape(len(first), -1)).reshape(batch, 9, -1)

    def materialised(first):
        # columns of dictionary_perspective: x, y, z blocks, each of all 3K; rows: u and v of each point
        dense = dictionary_perspective(first.reshape(len(first), -1), data.points, data.weights)
        return jnp.einsum("bpc,bpck->bk", measured, dense).reshape(batch, 9, -1)

    both = lambda f: lambda first: jax.value_and_grad(lambda d: (f(d) ** 2).mean())(first)
    codes = [np.asarray(f(first)) for f in (structured, materialised)]
    gap = np.abs(codes[0] - codes[1]).max() / np.abs(codes[1]).max()
    return both(structured), both(materialised), first, float(gap)


def main(argv: list[str] | None = None) -> dict:
    """Run, print and return the record."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument("--batch", type=int, default=128, help="frames in a step")
    args = p.parse_args(argv)
    rounds, count = (5, 6) if args.quick else (21, 30)
    flat = Training("orthographic", batch=args.batch)
    deep = Training("perspective", batch=args.batch)
    structured, materialised, first, gap = first_layer(deep, args.batch)
    functions, compile_s = {}, {}
    for name, training in (("orthographic", flat), ("perspective", deep)):
        functions[name], compile_s[name] = training.steps(count)
    for name, function in (("structured", structured), ("materialised", materialised)):
        functions[name], compile_s[name] = compile_for(function, first)
    times = alternate(functions, rounds)
    step = times["perspective"] / times["orthographic"]
    # What a step would take with the dictionary built: its own time, and what the first layer takes longer.
    longer = (times["materialised"] - times["structured"]) * count
    built = (times["perspective"] + longer) / times["perspective"]
    figures = {
        "perspective over orthographic step": figure(np.median(step), "x", "lower", 1.25, 2.0),
        "materialised over structured first layer": figure(
            np.median(times["materialised"] / times["structured"]), "x", "higher", 2.0
        ),
        "materialised over structured step": figure(np.median(built), "x", "higher", 2.0),
        "difference of the two codes": figure(gap, "", "lower", 10.0, 1e-5),
    }
    sizes = flat.network_sizes
    record = {
        "benchmark": "perspective",
        **environment(),
        "batch": args.batch,
        "rounds": rounds,
        "flops_ratio": matmul_flops(sizes, 3) / matmul_flops(sizes, 2),
        "dictionary_bytes": 4 * args.batch * 2 * 28 * 9 * sizes[0],
        "compile_s": compile_s,
        "orthographic_step": summary(times["orthographic"], count),
        "perspective_step": summary(times["perspective"], count),
        "structured_first_layer": summary(times["structured"]),
        "materialised_first_layer": summary(times["materialised"]),
        "figures": figures,
    }
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
