"""Triangle meshes: the record and its checks, files, Laplacians and geodesics, handles that deform, outlines, what a
camera sees of them, and `MeshSequence`, a mesh in motion."""

from jnrsfm.geometry.mesh.files import read_mesh as read_mesh
from jnrsfm.geometry.mesh.handles import HandleModel as HandleModel
from jnrsfm.geometry.mesh.handles import deform as deform
from jnrsfm.geometry.mesh.handles import dependency as dependency
from jnrsfm.geometry.mesh.handles import fold as fold
from jnrsfm.geometry.mesh.handles import handle_basis as handle_basis
from jnrsfm.geometry.mesh.handles import handle_model as handle_model
from jnrsfm.geometry.mesh.laplacian import farthest_vertices as farthest_vertices
from jnrsfm.geometry.mesh.laplacian import geodesic_distances as geodesic_distances
from jnrsfm.geometry.mesh.laplacian import laplacian as laplacian
from jnrsfm.geometry.mesh.raster import rasterise as rasterise
from jnrsfm.geometry.mesh.record import TriangleMesh as TriangleMesh
from jnrsfm.geometry.mesh.record import check_mesh as check_mesh
from jnrsfm.geometry.mesh.record import edge_table as edge_table
from jnrsfm.geometry.mesh.record import vertex_normals as vertex_normals
from jnrsfm.geometry.mesh.sequence import MeshSequence as MeshSequence
from jnrsfm.geometry.mesh.silhouette import Outline as Outline
from jnrsfm.geometry.mesh.silhouette import coverage as coverage
from jnrsfm.geometry.mesh.silhouette import outline_of as outline_of
from jnrsfm.geometry.mesh.visibility import vertex_visible as vertex_visible
