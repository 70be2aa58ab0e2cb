"""Generated sets with exact truth, and the registry of downloadable ones."""

from jnrsfm.datasets.config import VIEWS as VIEWS
from jnrsfm.datasets.config import DatasetConfig as DatasetConfig
from jnrsfm.datasets.config import WalkerConfig as WalkerConfig
from jnrsfm.datasets.generators import GENERATORS as GENERATORS
from jnrsfm.datasets.generators import Generator as Generator
from jnrsfm.datasets.generators import configure as configure
from jnrsfm.datasets.generators import make as make
