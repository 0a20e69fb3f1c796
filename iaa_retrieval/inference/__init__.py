"""Fast inference: length-bucketed batches, precision choice, the streaming corpus encoder, the pair scorer."""
