"""Procrustean regression networks: sequences seen by a smoothly turning camera."""
