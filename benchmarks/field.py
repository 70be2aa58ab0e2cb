"""Rays of a trajectory field, forward and backward, against the machine's own matrix products, and against PyTorch.

`python -m benchmarks.field [--json FILE] [--quick]`

The gradient of the squared colour of rays through the published perceptron (positional encodings, 6 layers of 128
units) rendered in log space, and through planes with a small decoder. The operations of the perceptron's products are
counted; the machine's rate is that of a square float32 product in the same process, in every round between them.
PyTorch runs a perceptron of the same sizes on the same encodings, rendered in the same way.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._common import (
    alternate,
    compile_for,
    environment,
    figure,
    matrix_product,
    parser,
    report,
    summary,
)
from jnrsfm.geometry import rays
from jnrsfm.models import field
from jnrsfm.scenes import FieldConfig

RAYS, SAMPLES = 256, 32
WIDTH, LAYERS = 128, 6


def config(kind: str) -> FieldConfig:
    """The field alone that moves, with ten cosines."""
    shape = {"width": WIDTH, "layers": LAYERS} if kind == "mlp" else {"width": 64, "layers": 1}
    return FieldConfig(24, 10, kind=kind, static=False, **shape)  # type: ignore[arg-type]


def flops(config: FieldConfig) -> float:
    """Operations of the matrix products of a gradient: twice the weights a sample forward, twice that backward."""
    seen = 3 * (2 * config.view_frequencies + 1) + 2 * config.view_frequencies + 1
    n_in = 4 * (2 * config.frequencies + 1)
    weights = n_in * config.width + (config.layers - 1) * config.width**2
    weights += (
        config.width * (1 + 3 * config.n_basis + config.embedding) + (config.embedding + 3) * config.width
    )
    return 6.0 * RAYS * SAMPLES * weights + 6.0 * RAYS * seen * config.width


def gradient(kind: str):
    """The gradient of a batch of rays as a function without arguments, and the seconds of its compilation."""
    c = config(kind)
    params = field.init_field(jax.random.key(0), c)
    a, b = jax.random.split(jax.random.key(1))
    points = jax.random.uniform(a, (RAYS, SAMPLES, 3), minval=-1, maxval=1)
    times = jax.random.uniform(b, (RAYS, 1), maxval=23)
    views = jnp.tile(jnp.array([0.0, 0.6, 0.8]), (RAYS, 1, 1))
    length = jnp.full((RAYS, SAMPLES), 2 / SAMPLES)

    def loss(params):
        found = field.dynamic_field(params, c, points, times)
        colour = field.colour(params["dynamic"], c, found.embedding, views, times)
        weights, _ = rays.volume_weights(found.density, length)
        return ((weights[..., None] * colour).sum(1) ** 2).mean() + 1e-3 * (found.coefficients**2).mean()

    return compile_for(jax.grad(loss), params)


def torch_gradient():
    """The perceptron in PyTorch, or None where it is absent."""
    try:
        import torch
    except ImportError:
        return None
    c = config("mlp")
    n_in, e = 4 * (2 * c.frequencies + 1), c.embedding
    seen = 3 * (2 * c.view_frequencies + 1) + 2 * c.view_frequencies + 1
    sizes = [(n_in, WIDTH)] + [(WIDTH, WIDTH)] * (LAYERS - 1)
    trunk = torch.nn.Sequential(*[m for a, b in sizes for m in (torch.nn.Linear(a, b), torch.nn.ReLU())])
    heads = torch.nn.Linear(WIDTH, 1 + 3 * c.n_basis + e)
    colour = torch.nn.Sequential(torch.nn.Linear(e + seen, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, 3))
    weights = [p for m in (trunk, heads, colour) for p in m.parameters()]
    at, view = torch.rand(RAYS, SAMPLES, 4) * 2 - 1, torch.rand(RAYS, 1, seen)
    waves = torch.pi * 2.0 ** torch.arange(c.frequencies)

    def run():
        x = at[..., None, :] * waves[:, None]
        x = torch.cat([at, torch.cat([x.sin(), x.cos()], -2).flatten(-2)], -1)
        out = heads(trunk(x))
        tau = torch.nn.functional.softplus(out[..., 0] - 4) * 20 * 2 / SAMPLES
        w = torch.exp(-(tau.cumsum(-1) - tau)) * -torch.expm1(-tau)
        c = torch.sigmoid(colour(torch.cat([out[..., 1 : e + 1], view.expand(-1, SAMPLES, -1)], -1)))
        loss = ((w[..., None] * c).sum(1) ** 2).mean() + 1e-3 * (out[..., e + 1 :] ** 2).mean()
        return np.zeros(len(torch.autograd.grad(loss, weights)))

    return run


def main(argv: list[str] | None = None) -> dict:
    """Run, print and return the record."""
    p = parser(__doc__.splitlines()[0])
    args = p.parse_args(argv)
    cpu = jax.default_backend() == "cpu"
    product, product_flops = matrix_product(1024 if cpu else 8192)
    (mlp, compile_mlp), (planes, compile_planes) = gradient("mlp"), gradient("planes")
    functions = {"product": product, "mlp": mlp, "planes": planes}
    if (run := torch_gradient()) is not None and cpu:
        functions["torch"] = run
    times = alternate(functions, 5 if args.quick else 15)
    fraction = float(np.median((flops(config("mlp")) / times["mlp"]) / (product_flops / times["product"])))
    count = RAYS * SAMPLES
    figures = {
        "fraction of the product rate, perceptron": figure(fraction, "", "higher", 1.3, 0.5 if cpu else None),
        "perceptron over planes": figure(np.median(times["mlp"] / times["planes"]), "x", "higher", 1.5),
        "samples a second, perceptron": figure(count / np.median(times["mlp"]), "1/s", "higher"),
        "samples a second, planes": figure(count / np.median(times["planes"]), "1/s", "higher"),
        "compilation, perceptron": figure(compile_mlp, "s", "lower", 2.0),
        "compilation, planes": figure(compile_planes, "s", "lower", 2.0),
    }
    if "torch" in times:
        figures["PyTorch over ours, perceptron"] = figure(
            np.median(times["torch"] / times["mlp"]), "x", "higher", 1.5
        )
    record = {
        "benchmark": "field", **environment(), "rays": RAYS, "samples": SAMPLES,
        "flops": flops(config("mlp")), **{name: summary(t) for name, t in times.items()}, "figures": figures,
    }  # fmt: skip
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
