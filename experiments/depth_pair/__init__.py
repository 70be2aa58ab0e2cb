"""Depth from two frames: losses and inputs on rendered scenes, real stereo, planted faults."""
