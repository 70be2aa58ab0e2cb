"""The verdict of the quality report: its calibration on generated figures."""
