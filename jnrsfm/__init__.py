"""Non-rigid structure from motion in JAX."""
