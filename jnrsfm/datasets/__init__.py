"""Generated sets and images with exact truth, and the registry of downloadable ones."""

from jnrsfm.datasets.categories import CategoriesConfig as CategoriesConfig
from jnrsfm.datasets.categories import ChairConfig as ChairConfig
from jnrsfm.datasets.config import VIEWS as VIEWS
from jnrsfm.datasets.config import DatasetConfig as DatasetConfig
from jnrsfm.datasets.downloads import DOWNLOADS as DOWNLOADS
from jnrsfm.datasets.downloads import Download as Download
from jnrsfm.datasets.downloads import fetch as fetch
from jnrsfm.datasets.downloads import load as load
from jnrsfm.datasets.generators import GENERATORS as GENERATORS
from jnrsfm.datasets.generators import Generator as Generator
from jnrsfm.datasets.generators import configure as configure
from jnrsfm.datasets.generators import make as make
from jnrsfm.datasets.hand import HandConfig as HandConfig
from jnrsfm.datasets.quadruped import QuadrupedConfig as QuadrupedConfig
from jnrsfm.datasets.render import FigureMesh as FigureMesh
from jnrsfm.datasets.render import RenderedFigures as RenderedFigures
from jnrsfm.datasets.render import RenderedImages as RenderedImages
from jnrsfm.datasets.render import contact_sheet as contact_sheet
from jnrsfm.datasets.render import figure_mesh as figure_mesh
from jnrsfm.datasets.render import render_figures as render_figures
from jnrsfm.datasets.sheet import SheetConfig as SheetConfig
from jnrsfm.datasets.sheet import grid_faces as grid_faces
from jnrsfm.datasets.walker import WalkerConfig as WalkerConfig

__all__ = [
    "DOWNLOADS",
    "GENERATORS",
    "VIEWS",
    "CategoriesConfig",
    "ChairConfig",
    "DatasetConfig",
    "Download",
    "FigureMesh",
    "Generator",
    "HandConfig",
    "QuadrupedConfig",
    "RenderedFigures",
    "RenderedImages",
    "SheetConfig",
    "WalkerConfig",
    "configure",
    "contact_sheet",
    "fetch",
    "figure_mesh",
    "grid_faces",
    "load",
    "make",
    "render_figures",
]
