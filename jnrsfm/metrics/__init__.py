"""Distances, the named protocols of the literature, error curves, and the label-free report card."""

from jnrsfm.metrics import distances as distances
from jnrsfm.metrics.protocols import PROTOCOLS as PROTOCOLS
from jnrsfm.metrics.protocols import Aligned as Aligned
from jnrsfm.metrics.protocols import C3dpo as C3dpo
from jnrsfm.metrics.protocols import Protocol as Protocol
from jnrsfm.metrics.protocols import evaluate as evaluate
from jnrsfm.metrics.protocols import evaluate_by_category as evaluate_by_category
from jnrsfm.metrics.protocols import overwrite_visible_xy as overwrite_visible_xy
from jnrsfm.metrics.protocols import protocol as protocol
