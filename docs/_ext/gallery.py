"""The gallery: examples that run when the site is built, with their pictures and the reports that their runs wrote."""

import os
import shutil
from pathlib import Path

from sphinx_gallery.scrapers import matplotlib_scraper

ORDER = (
    "walking", "outliers", "doubtful", "perspective", "several_clips", "exporting", "lifting", "photographs",
    "uncertainty", "comparing_solvers", "own_method",
)  # fmt: skip
LONG = ("lifting", "photographs")  # minutes of training: shown, and run only where JNRSFM_DOCS_ALL is set
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def example_order(name: str) -> int:
    """Place of an example in the gallery. Raises ValueError for one that is not listed."""
    return ORDER.index(Path(name).stem)


def quiet(gallery_conf, name) -> None:
    """What the library of checkpoints tells its developers is no output of an example."""
    from absl import logging

    logging.set_verbosity(logging.WARNING)


class Reports:
    """Pages of the runs that a block of an example made, as frames to look into."""

    def __init__(self, site: Path):
        self.site = site

    def __repr__(self) -> str:
        return "Reports"

    def __call__(self, block, block_vars, gallery_conf) -> str:
        """Copy the page of each new run beside the site's pages, and show it."""
        shown = block_vars["example_globals"].setdefault("_shown", set())
        text = ""
        for value in list(block_vars["example_globals"].values()):
            folder = getattr(value, "out", None)
            if not isinstance(folder, Path) or folder in shown or not (folder / "report.html").is_file():
                continue
            shown.add(folder)
            name = f"{Path(block_vars['src_file']).stem}_{len(shown)}.html"
            self.site.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / "report.html", self.site / name)
            text += (
                "\n.. raw:: html\n\n"
                f'    <iframe class="report" loading="lazy" src="../_reports/{name}" title="The report of this run">'
                "</iframe>\n"
                f'    <p class="whole"><a href="../_reports/{name}">The report by itself</a></p>\n\n'
            )
        return text


def settings(site: Path) -> dict:
    """The settings of Sphinx-Gallery, for a site that is built into the folder `site`."""
    return {
        "examples_dirs": "examples",
        "gallery_dirs": "gallery",
        "filename_pattern": r"\.py$"
        if os.environ.get("JNRSFM_DOCS_ALL")
        else rf"/(?!{'|'.join(LONG)})\w+\.py$",
        "within_subsection_order": example_order,
        "image_scrapers": (matplotlib_scraper, Reports(site / "_reports")),
        "reset_modules": ("matplotlib", quiet),
        "abort_on_example_error": True,
        "download_all_examples": False,
        "show_signature": False,
        "write_computation_times": False,
        "min_reported_time": 1e9,
        "thumbnail_size": (400, 280),
        "default_thumb_file": str(EXAMPLES.parent / "images" / "demo.png"),
    }


def setup(app):
    """Tell Sphinx-Gallery before it looks; it must be loaded after this."""
    app.connect("config-inited", _configure, priority=1)
    return {"parallel_read_safe": True}


def _configure(app, config):
    config.sphinx_gallery_conf = settings(Path(app.outdir))
