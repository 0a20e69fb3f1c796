"""What every verb that uses an encoder offers, and says, in the same words."""

from __future__ import annotations

# What pyserini.encode calls the classes that our encoder stands for, and those of its own.
OUR_CLASSES = ("auto", "sentence-transformers", "contriever", "qwen3")
STOCK_CLASSES = (*("dpr", "bpr", "tct_colbert", "ance", "openai-api", "arctic", "splade", "uniir", "dse", "mmeb"),)
POOLINGS = ("cls", "mean", "last")
PYSERINI_POOLINGS = (*POOLINGS, "eos")  # what it calls last
CUT_ADVICE = "--max-length sets another length"
CUT_ADVICE_IN_PYTHON = "the argument max_length sets another length"

ENCODER_HELP = "Checkpoint, directory, hub id or all-MiniLM-L6-v2."
POOLING_HELP = "Only for encoders that do not say it themselves."
L2_NORM_HELP = "Unit-length vectors; only for encoders that do not say it themselves."
