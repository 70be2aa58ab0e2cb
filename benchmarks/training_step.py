"""A training step of Deep NRSfM++ against the machine's own matrix products, and against PyTorch.

`python -m benchmarks.training_step [--json FILE] [--quick] [--batch N ...]`

CMU preset (dictionaries 512, 256, ..., 8; 28 points), orthographic, everything that a step of the engine does:
random batch, roll, network, loss, gradient, clipping, Adam. Its operations are counted by
`_workload.matmul_flops` (matrix products only). The machine's rate is that of a square float32 product in the
same process, in every round between the steps; the fraction is taken within each round. PyTorch runs the same
network from the same parameters in the same rounds, eagerly and by `torch.compile`.
"""

import time

import jax
import numpy as np

from benchmarks._common import alternate, environment, figure, matrix_product, parser, report, summary
from benchmarks._workload import Training, matmul_flops
from jnrsfm.methods.deep_nrsfm_pp import forward


def torch_modes(training: Training, count: int) -> tuple[dict, dict]:
    """Functions that run the steps in PyTorch, and what there is to say; no function where it is absent."""
    try:
        import torch

        from benchmarks.torch_network import Steps
    except ImportError as error:
        print(f"PyTorch is left out ({error}): install the bench extra to compare with it")
        return {}, {"absent": str(error)}
    cpu = jax.default_backend() == "cpu"
    if not cpu and not torch.cuda.is_available():
        return {}, {"absent": "this PyTorch has no GPU"}
    device = "cpu" if cpu else "cuda"
    config, data = training.config, training.data.seen
    params = training.state().params
    make = lambda: Steps(
        params, data.points, data.weights, config.batch, config.clip_norm, config.learning_rate, config.roll, device
    )  # fmt: skip
    eager, compiled = make(), make()
    points, weights = eager.points[: config.batch], eager.weights[: config.batch]
    with torch.no_grad():
        theirs = float(eager.network(points, weights))
    terms = forward(
        training.fit.network, training.fit.camera, params, jax.tree.map(lambda x: x[: config.batch], data)
    )
    ours = float(np.sqrt((np.asarray(terms.residual) ** 2).sum(-1).mean(-1) + 1e-12).mean())
    about = {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "loss": theirs,
        "our_loss": ours,
    }
    if abs(ours - theirs) > 1e-4 * abs(ours):
        raise AssertionError(f"not the same network: loss {ours} here and {theirs} in PyTorch")
    modes = {"torch_eager": lambda: eager.run(count)}
    gradient = torch.compile(compiled.gradient)
    start = time.perf_counter()
    try:
        compiled.run(1, gradient)
        about["compile_s"] = time.perf_counter() - start
        modes["torch_compile"] = lambda: compiled.run(count, gradient)
    except Exception as error:  # no C++ compiler, say; torch raises whatever its backend met
        about["compile_failed"] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        print(f"torch.compile is left out: {about['compile_failed']}")
    return modes, about


def measure_batch(batch: int, rounds: int, count: int, size: int) -> dict:
    """Rate, fraction of the matrix-product rate, and times of PyTorch at one batch size."""
    training = Training(batch=batch)
    product, product_flops = matrix_product(size)
    step, compile_s = training.steps(count)
    modes, about = torch_modes(training, count)
    times = alternate({"product": product, "step": step, **modes}, rounds)
    flops = batch * matmul_flops(training.network_sizes, 2)
    fraction = (flops * count / times["step"]) / (product_flops / times["product"])
    result = {
        "frames": batch,
        "slices": training.config.slices(jax.default_backend()),
        "steps_per_call": count,
        "rounds": rounds,
        "flops_per_step": flops,
        "compile_s": compile_s,
        "step": summary(times["step"], count),
        "product_flops_per_s": product_flops / float(np.median(times["product"])),
        "product_size": size,
        "flops_per_s": flops * count / float(np.median(times["step"])),
        "fraction": float(np.median(fraction)),
        "fraction_quartiles": np.quantile(fraction, [0.25, 0.75]),
        "fraction_of_fastest": flops * count / times["step"].min() / (product_flops / times["product"].min()),
        "torch": about,
    }
    for mode in modes:
        result[mode] = summary(times[mode], count)
    if modes:
        best = np.min([times[mode] for mode in modes], 0)
        result["times_faster_than_torch"] = float(np.median(best / times["step"]))
        result["times_faster_by_fastest"] = float(best.min() / times["step"].min())
    return result


def main(argv: list[str] | None = None) -> dict:
    """Run, print and return the record."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument("--batch", type=int, nargs="+", default=[128, 1024], help="frames in a step")
    p.add_argument("--rounds", type=int, help="measurements of each")
    args = p.parse_args(argv)
    cpu = jax.default_backend() == "cpu"
    rounds = args.rounds or (7 if args.quick else 25)
    size = 2048 if cpu else 8192
    results = {}
    for batch in args.batch:
        count = max(1, round((10 if args.quick else 40) * 128 / batch)) if cpu else 100
        results[str(batch)] = measure_batch(batch, rounds, count, size)
    figures = {}
    for batch, r in results.items():
        # The targets are for processors: on a GPU steps this small wait for kernels to start.
        goal = (lambda x: x) if cpu else (lambda x: None)
        figures[f"fraction of the product rate, batch {batch}"] = figure(
            r["fraction"], "", "higher", 1.25, goal(0.5)
        )
        if "times_faster_than_torch" in r:
            figures[f"PyTorch's best over ours, batch {batch}"] = figure(
                r["times_faster_than_torch"], "x", "higher", 1.3, goal(1.5)
            )
        figures[f"step, batch {batch}"] = figure(1e3 * r["step"]["median_s"], "ms", "lower")
        figures[f"compilation, batch {batch}"] = figure(r["compile_s"], "s", "lower", 2.0)
    record = {"benchmark": "training_step", **environment(), "batches": results, "figures": figures}
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
