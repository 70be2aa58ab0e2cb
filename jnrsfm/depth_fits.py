"""`fit` of methods that learn depth from pairs of frames: their runs have no landmarks."""

import time
from pathlib import Path
from typing import Any

from jnrsfm import metrics
from jnrsfm.config import to_plain
from jnrsfm.depth_maps import FramePairs
from jnrsfm.methods import Fitted, MethodInfo
from jnrsfm.result_runs import keep_result, open_result_run
from jnrsfm.training import Session

TITLE = "Depth from two frames"


def fit_pairs(
    pairs: FramePairs,
    info: MethodInfo,
    config: Any,
    seed: int,
    folder: Path | None,
    resume: bool,
    progress: bool,
) -> dict[str, Any]:
    """Train on pairs of frames into a run folder: `config.yaml`, `metrics.jsonl`, `checkpoints/`, `model.npz`,
    `depth.npz` (depth of held-out pairs), `quality.json`, `report.html`. Returns the fields of `api.FitResult`, with
    the method's own model. Raises InputError."""
    record = {
        "method": info.name,
        "seed": seed,
        "pairs": len(pairs),
        "size": list(pairs.size),
        "config": to_plain(config),
    }
    open_result_run(folder, info, record, resume)
    begun = time.monotonic()
    session = Session(folder, resume=resume, progress=progress)
    fitted: Fitted = info.fit(pairs, info.cameras[0], config, seed, session)
    quality = metrics.assess(pairs, fitted.reconstruction, heldout=fitted.heldout)  # type: ignore[arg-type]
    return keep_result(
        folder, info, record, config, session, fitted, fitted.reconstruction, quality, begun, TITLE
    )
