"""Pure functions of cameras, rotations, shapes and trajectories; no networks, no files."""
