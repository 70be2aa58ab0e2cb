"""The distilled student and PRN through an image network, on rendered people and on real labelled sets."""
