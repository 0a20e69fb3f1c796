"""Instruments that show how tuning learns: curves, learning rates, costs; each a typed function and its figure."""
