"""Images a second of the renderer, with the cost of its stages, compilation apart.

`python -m benchmarks.render [--json FILE] [--quick]`

Six kinds of figures at 128 x 128 pixels, edges smoothed and shadows cast, as `RenderedFigures` draws them by default.
`host`: subjects, scenes and cameras in NumPy; `device`: the jitted pictures; `whole`: `render_figures` from settings to
records, everything included but compilation. Processor seconds of this process stand beside those of the clock, for a
machine that others use too.
"""

import time

import jax
import numpy as np

from benchmarks._common import environment, figure, parser, report
from jnrsfm.datasets import RenderedFigures, render_figures
from jnrsfm.datasets.render import drawing, kernel

FIGURES = ("walker", "quadruped", "hand", "bird", "chair", "car")


def timed(function, rounds: int) -> tuple[float, float]:
    """Least seconds of the clock and of the processor over some rounds."""
    clock, processor = [], []
    for _ in range(rounds):
        start, used = time.perf_counter(), time.process_time()
        jax.block_until_ready(function())
        clock.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    return min(clock), min(processor)


def main(argv: list[str] | None = None) -> dict:
    """Run, print and return the record."""
    args = parser(__doc__.splitlines()[0]).parse_args(argv)
    images, rounds = (48, 2) if args.quick else (192, 5)
    config = RenderedFigures(figures=FIGURES, images=images)
    layout = drawing.layout_of(config)
    found = [clip for _, clip in drawing.clips(config)]
    batch = drawing._stacked([drawing.picture(c, 0) for c in found[: drawing.PARALLEL]], drawing.PARALLEL)
    start = time.perf_counter()
    program = kernel.draw_all.lower(batch, layout=layout).compile()
    compilation = time.perf_counter() - start
    put = jax.device_put(batch)
    jax.block_until_ready(program(put))
    _, device = timed(lambda: program(put), rounds)
    _, host = timed(lambda: [drawing.picture(c, 0) for _, c in drawing.clips(config)], rounds)
    render_figures(config)
    clock, processor = timed(lambda: render_figures(config).depth, rounds)

    moving = RenderedFigures(figures=FIGURES[:2], images=32, clip=8, flow=True, stereo=True)
    render_figures(moving)
    _, both = timed(lambda: render_figures(moving).depth, rounds)
    record = {
        "benchmark": "render",
        **environment(),
        "images": images,
        "size": config.shape,
        "mask_share": float(np.mean(render_figures(config).mask)),
        "figures": {
            "images a second, clock": figure(images / clock, "1/s", "higher"),
            "images a second of processor time": figure(images / processor, "1/s", "higher", 2.0, 50),
            "host, processor": figure(1e3 * host / images, "ms", "lower", 2.0),
            "device, processor": figure(1e3 * device / drawing.PARALLEL, "ms", "lower", 2.0),
            "with flow both ways and stereo, processor": figure(1e3 * both / 32, "ms", "lower", 2.0),
            "compilation": figure(compilation, "s", "lower"),
        },
    }
    report(record, args.json)
    return record


if __name__ == "__main__":
    main()
