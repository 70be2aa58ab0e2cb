"""Trajectory fields and their rivals, on a rendered walk with true paths and on two real and synthetic sets."""
