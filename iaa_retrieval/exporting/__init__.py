"""Checkpoints for other tools: one module per format, each of which fills a directory."""
