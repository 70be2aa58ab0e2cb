"""The rigid start under its old name, for `paul` until its import follows."""

from jnrsfm.methods.rigid import rigid_shapes as rigid_shapes
