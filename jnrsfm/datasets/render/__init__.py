"""Images of generated figures with exact truth: `render_figures(RenderedFigures(...))`."""

from jnrsfm.datasets.render.config import RenderedFigures as RenderedFigures
from jnrsfm.datasets.render.drawing import render_figures as render_figures
from jnrsfm.datasets.render.truth import RenderedImages as RenderedImages

__all__ = ["RenderedFigures", "RenderedImages", "render_figures"]
