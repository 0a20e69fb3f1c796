"""Bi-encoders, cross-encoders and their self-describing checkpoints."""
