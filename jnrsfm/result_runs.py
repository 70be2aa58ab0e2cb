"""The run folder of methods whose input is no landmarks: opened, filled, and its page written again."""

import time
from pathlib import Path
from typing import Any

import jax

from jnrsfm import citations, io, report, runs
from jnrsfm.errors import InputError
from jnrsfm.methods import Fitted, MethodInfo
from jnrsfm.report import Contents
from jnrsfm.training import Session, hosts


def open_result_run(folder: Path | None, info: MethodInfo, record: dict[str, Any], resume: bool) -> None:
    """Open or resume the folder on the first host; the others wait. Raises InputError where it holds another run."""
    if folder is None:
        return
    if jax.process_index() == 0:
        if resume:
            runs.read_record(folder)
            finished = (folder / io.RESULTS[info.gives].name).is_file()
            runs.resume_run(folder, record, [], finished=finished)
        else:
            runs.open_run(folder, record)
    hosts.agreed(True)


def keep_result(
    folder: Path | None, info: MethodInfo, record: dict[str, Any], config: Any, session: Session, fitted: Fitted,
    result: Any, quality: dict[str, Any], begun: float, title: str,
) -> dict[str, Any]:  # fmt: skip
    """Write the result, its model where it has one, `quality.json` and the page into the folder, where there is one;
    the fields of `api.FitResult`. `begun`: `time.monotonic()` at the start."""
    seconds = round(time.monotonic() - begun, 1)
    contents = Contents(
        result, history=session.history, quality=quality, settings={**record, "seconds": seconds}, code=fitted.code,
        title=title, citations=citations.cite(info.name),
    )  # fmt: skip
    if folder is not None and session.first:
        if fitted.model is not None:
            fitted.model.save(folder / runs.MODEL_FILE)
        result.save(folder / io.RESULTS[info.gives].name)
        about = {
            "seconds": seconds, "code": fitted.code.value, "quality": quality, "diagnostics": fitted.diagnostics,
        }  # fmt: skip
        runs.write_json(folder / runs.QUALITY_FILE, about)
        report.write_report(folder / runs.REPORT_FILE, contents)
    return {
        "result": result, "model": fitted.model, "quality": quality, "history": session.history, "config": config,
        "out": folder, "diagnostics": fitted.diagnostics, "code": fitted.code, "contents": contents,
    }  # fmt: skip


def write_result_report(run: Path, info: MethodInfo, record: dict[str, Any], title: str) -> Path:
    """The page of a finished run, again. Raises InputError for an unfinished one."""
    about = runs.read_quality(run)
    result_file = io.RESULTS[info.gives].name
    if not (run / result_file).is_file():
        raise InputError(f"{run}: holds no {result_file}: the run has not finished (jnrsfm fit --resume)")
    contents = Contents(
        io.read_result(run / result_file, info.gives), history=Session(run, resume=True).history,
        quality=about["quality"], settings={**record, "seconds": about["seconds"]}, code=about["code"], title=title,
        citations=citations.cite(info.name),
    )  # fmt: skip
    return report.write_report(run / runs.REPORT_FILE, contents)
