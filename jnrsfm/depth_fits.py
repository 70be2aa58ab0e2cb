"""`fit`, `load` and the report of methods that learn depth from pairs of frames: their runs have no landmarks."""

import time
from pathlib import Path
from typing import Any

import jax

from jnrsfm import citations, io, metrics, report, runs
from jnrsfm.config import to_plain
from jnrsfm.depth_maps import FramePairs
from jnrsfm.errors import InputError
from jnrsfm.methods import Fitted, MethodInfo
from jnrsfm.report import Contents
from jnrsfm.training import Session, hosts

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
    result_file = io.RESULTS[info.gives].name
    if folder is not None:
        if jax.process_index() == 0:
            if resume:
                runs.read_record(folder)
                runs.resume_run(folder, record, [], finished=(folder / result_file).is_file())
            else:
                runs.open_run(folder, record)
        hosts.agreed(True)
    begun = time.monotonic()
    session = Session(folder, resume=resume, progress=progress)
    fitted: Fitted = info.fit(pairs, info.cameras[0], config, seed, session)
    quality = metrics.assess(pairs, fitted.reconstruction, heldout=fitted.heldout)  # type: ignore[arg-type]
    seconds = round(time.monotonic() - begun, 1)
    contents = Contents(
        fitted.reconstruction, history=session.history, quality=quality, settings={**record, "seconds": seconds},
        code=fitted.code, title=TITLE, citations=citations.cite(info.name),
    )  # fmt: skip
    if folder is not None and session.first:
        assert fitted.model is not None
        fitted.model.save(folder / runs.MODEL_FILE)
        fitted.reconstruction.save(folder / result_file)
        about = {
            "seconds": seconds,
            "code": fitted.code.value,
            "quality": quality,
            "diagnostics": fitted.diagnostics,
        }
        runs.write_json(folder / runs.QUALITY_FILE, about)
        report.write_report(folder / runs.REPORT_FILE, contents)
    return {
        "result": fitted.reconstruction, "model": fitted.model, "quality": quality, "history": session.history,
        "config": config, "out": folder, "diagnostics": fitted.diagnostics, "code": fitted.code, "contents": contents,
    }  # fmt: skip


def write_pair_report(run: Path, info: MethodInfo, record: dict[str, Any]) -> Path:
    """The page of a finished run, again. Raises InputError for an unfinished one."""
    about = runs.read_quality(run)
    result_file = io.RESULTS[info.gives].name
    if not (run / result_file).is_file():
        raise InputError(f"{run}: holds no {result_file}: the run has not finished (jnrsfm fit --resume)")
    contents = Contents(
        io.read_result(run / result_file, info.gives), history=Session(run, resume=True).history,
        quality=about["quality"], settings={**record, "seconds": about["seconds"]}, code=about["code"], title=TITLE,
        citations=citations.cite(info.name),
    )  # fmt: skip
    return report.write_report(run / runs.REPORT_FILE, contents)
