"""Training: data and its validation, batching, losses, the trainer, model cards."""
