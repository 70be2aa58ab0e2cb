"""Figures of a result: the offline page with its 3D viewer, and the same as a still picture.

`write_report(path, Contents(result, ...))` writes the page, `write_still` the picture, `figure` gives the matplotlib
figure. What is shown is chosen by the type of the result (`PANELS`).
"""

from jnrsfm.depth_maps import DepthMaps
from jnrsfm.geometry.mesh.sequence import MeshSequence
from jnrsfm.report import field_page
from jnrsfm.report.contact_sheet import contact_sheet as contact_sheet
from jnrsfm.report.contact_sheet import write_contact_sheet as write_contact_sheet
from jnrsfm.report.contents import PANELS as PANELS
from jnrsfm.report.contents import Contents as Contents
from jnrsfm.report.contents import Panels as Panels
from jnrsfm.report.contents import for_result as for_result
from jnrsfm.report.depth_page import depth_page, depth_scene, draw_depth
from jnrsfm.report.landmark_sheet import write_landmark_sheet as write_landmark_sheet
from jnrsfm.report.meshes import mesh_figure, mesh_page, mesh_scene
from jnrsfm.report.notebook import notebook_html as notebook_html
from jnrsfm.report.page import page_html
from jnrsfm.report.page import write_report as write_report
from jnrsfm.report.photos import Photo as Photo
from jnrsfm.report.photos import photographs as photographs
from jnrsfm.report.photos import read_photos as read_photos
from jnrsfm.report.photos import shown_images as shown_images
from jnrsfm.report.photos import write_photos as write_photos
from jnrsfm.report.scene import Scene as Scene
from jnrsfm.report.scene import build_scene as build_scene
from jnrsfm.report.scene import scene_of
from jnrsfm.report.stereo_page import StereoSample as StereoSample
from jnrsfm.report.stereo_page import write_stereo_page as write_stereo_page
from jnrsfm.report.still import draw
from jnrsfm.report.still import figure as figure
from jnrsfm.report.still import write_still as write_still
from jnrsfm.scenes import TrajectoryField
from jnrsfm.types import Reconstruction

PANELS.register(Reconstruction, Panels(scene_of, page_html, draw))
PANELS.register(MeshSequence, Panels(mesh_scene, mesh_page, mesh_figure))
PANELS.register(TrajectoryField, Panels(field_page.show, field_page.page_html, field_page.figure))
PANELS.register(DepthMaps, Panels(depth_scene, depth_page, draw_depth))

__all__ = [
    "PANELS", "Contents", "Panels", "Photo", "Scene", "StereoSample", "build_scene", "contact_sheet", "figure",
    "for_result", "notebook_html", "photographs", "read_photos", "shown_images", "write_contact_sheet",
    "write_landmark_sheet", "write_photos", "write_report", "write_stereo_page", "write_still",
]  # fmt: skip
