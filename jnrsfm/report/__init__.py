"""Figures of a result: the offline page with its 3D viewer, and the same as a still picture."""

from jnrsfm.report.page import write_report as write_report
from jnrsfm.report.still import write_png as write_png
