"""Nearest rotation and nearest orthonormal frame against autodiff of `jnp.linalg.svd`.

`python -m benchmarks.rotations [--json FILE] [--count N] [--repeats N]`

Forward is the projection; forward + backward is the projection and the product of a fixed cotangent with
its Jacobian. Both sides run in the same process, in turns, on the same float32 matrices of independent
normal entries; compile time apart. The error is the largest of any entry against float64 NumPy, over the
matrices whose gap (sum of the two smallest signed singular values, for frames the smaller singular value)
is above 1e-3 of the largest.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._common import environment, figure, measure_in_turns, parser, report
from jnrsfm.geometry.rotations import project_to_so3, project_to_stiefel

GAP = 1e-3


def so3_by_svd(m):
    """U diag(1, 1, det(U V^T)) V^T, the usual way."""
    u, _, vt = jnp.linalg.svd(m)
    d = jnp.linalg.det(u @ vt)[..., None]
    return jnp.concatenate([u[..., :2], u[..., 2:] * d[..., None]], -1) @ vt


def stiefel_by_svd(m):
    """U V^T of the thin SVD."""
    u, _, vt = jnp.linalg.svd(m, full_matrices=False)
    return u @ vt


def with_backward(project):
    """The value, and the cotangent pulled back."""

    def both(m, cotangent):
        value, pull = jax.vjp(project, m)
        return value, pull(cotangent)[0]

    return both


def exact(m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Float64 projection by NumPy's SVD, and the relative gap."""
    u, s, vt = np.linalg.svd(m.astype(np.float64), full_matrices=False)
    if m.shape[-1] == 2:
        return u @ vt, s[..., 1] / s[..., 0]
    sign = np.sign(np.linalg.det(u @ vt))
    u[..., 2] *= sign[..., None]
    return u @ vt, (s[..., 1] + sign * s[..., 2]) / s[..., 0]


def compare(ours, svd, m: np.ndarray, cotangent: np.ndarray, repeats: int) -> dict:
    """Times and errors of the two, and how many times faster the first is."""
    expected, gap = exact(m)
    clear = gap > GAP
    result: dict = {
        "count": len(m),
        "shape": list(m.shape[1:]),
        "well_posed": int(clear.sum()),
        "smallest_gap": gap.min(),
    }
    for name, project in (("ours", ours), ("svd", svd)):
        value = np.asarray(jax.jit(project)(m))
        error = np.abs(value - expected).max((-1, -2))
        gram = np.swapaxes(value, -1, -2).astype(np.float64) @ value
        result[name] = {
            "worst_error": error[clear].max(),
            "worst_orthogonality": np.abs(gram - np.eye(m.shape[-1])).max(),
        }
    both = {"ours": ours, "svd": svd}
    times = {
        "forward": measure_in_turns({name: (f, (m,)) for name, f in both.items()}, repeats),
        "forward_backward": measure_in_turns(
            {name: (with_backward(f), (m, cotangent)) for name, f in both.items()}, repeats
        ),
    }
    for key, by_name in times.items():
        for name, figures in by_name.items():
            result[name][key] = figures
        result[f"{key}_ratio"] = result["svd"][key]["run_s"] / result["ours"][key]["run_s"]
    return result


def main(argv: list[str] | None = None) -> dict:
    """Run, print and return the record."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument("--count", type=int, default=100_000, help="number of matrices")
    p.add_argument("--repeats", type=int, default=15, help="timed runs of each")
    args = p.parse_args(argv)
    if args.quick:
        args.repeats = min(args.repeats, 5)
    rng = np.random.default_rng(0)
    m, cotangent = rng.normal(size=(2, args.count, 3, 3)).astype(np.float32)
    record = {
        "benchmark": "rotations",
        **environment(),
        "so3": compare(project_to_so3, so3_by_svd, m, cotangent, args.repeats),
        "stiefel": compare(
            project_to_stiefel, stiefel_by_svd, m[..., :2].copy(), cotangent[..., :2].copy(), args.repeats
        ),
    }
    record["figures"] = {}
    for name in ("so3", "stiefel"):
        r = record[name]
        record["figures"] |= {
            f"{name}: SVD over ours, forward": figure(r["forward_ratio"], "x", "higher", 1.5),
            f"{name}: SVD over ours, with backward": figure(
                r["forward_backward_ratio"], "x", "higher", 1.5, 10
            ),
            f"{name}: worst error": figure(r["ours"]["worst_error"], "", "lower", 1.5, 1e-5),
        }
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
