"""Figures of a result: the offline page with its 3D viewer, and the same as a still picture.

`write_report(path, Contents(result, ...))` writes the page, `write_still` the picture, `figure` gives the matplotlib
figure. What is shown is chosen by the type of the result (`PANELS`).
"""

from jnrsfm.report.contents import PANELS as PANELS
from jnrsfm.report.contents import Contents as Contents
from jnrsfm.report.contents import Panels as Panels
from jnrsfm.report.contents import for_result as for_result
from jnrsfm.report.page import page_html
from jnrsfm.report.page import write_report as write_report
from jnrsfm.report.scene import Scene as Scene
from jnrsfm.report.scene import build_scene as build_scene
from jnrsfm.report.scene import scene_of
from jnrsfm.report.still import draw
from jnrsfm.report.still import figure as figure
from jnrsfm.report.still import write_still as write_still
from jnrsfm.types import Reconstruction

PANELS.register(Reconstruction, Panels(scene_of, page_html, draw))

__all__ = [
    "PANELS", "Contents", "Panels", "Scene", "build_scene", "figure", "for_result", "write_report", "write_still",
]  # fmt: skip
