"""Images of generated figures with exact truth, `render_figures(RenderedFigures(...))`, and meshes of them."""

from jnrsfm.datasets.render.config import RenderedFigures as RenderedFigures
from jnrsfm.datasets.render.drawing import render_figures as render_figures
from jnrsfm.datasets.render.mesh import FigureMesh as FigureMesh
from jnrsfm.datasets.render.mesh import figure_mesh as figure_mesh
from jnrsfm.datasets.render.rig import RenderedRig as RenderedRig
from jnrsfm.datasets.render.rig import render_rig as render_rig
from jnrsfm.datasets.render.truth import RenderedImages as RenderedImages
from jnrsfm.datasets.render.truth import contact_sheet as contact_sheet

__all__ = [
    "FigureMesh",
    "RenderedFigures",
    "RenderedImages",
    "RenderedRig",
    "contact_sheet",
    "figure_mesh",
    "render_figures",
    "render_rig",
]
