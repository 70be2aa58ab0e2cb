"""What stands between a record and a batch: normalisation, filling of gaps, augmentation, blocks of frames."""
