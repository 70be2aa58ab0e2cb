"""Distances, the named protocols of the literature, error curves, and the quality report (no ground truth needed)."""

from jnrsfm.metrics import curves as curves
from jnrsfm.metrics import distances as distances
from jnrsfm.metrics import quality as quality
from jnrsfm.metrics.curves import error_curves as error_curves
from jnrsfm.metrics.curves import frame_errors as frame_errors
from jnrsfm.metrics.curves import point_errors as point_errors
from jnrsfm.metrics.curves import success_rate as success_rate
from jnrsfm.metrics.protocols import PROTOCOLS as PROTOCOLS
from jnrsfm.metrics.protocols import Aligned as Aligned
from jnrsfm.metrics.protocols import C3dpo as C3dpo
from jnrsfm.metrics.protocols import Protocol as Protocol
from jnrsfm.metrics.protocols import evaluate as evaluate
from jnrsfm.metrics.protocols import evaluate_by_category as evaluate_by_category
from jnrsfm.metrics.protocols import overwrite_visible_xy as overwrite_visible_xy
from jnrsfm.metrics.protocols import protocol as protocol
from jnrsfm.metrics.quality import restart_spread as restart_spread
from jnrsfm.metrics.quality_report import CHECKS as CHECKS
from jnrsfm.metrics.quality_report import assess as assess
from jnrsfm.metrics.quality_report import format_quality as format_quality
