"""Training losses, one module each; see :mod:`.registry` for what a loss is given and how one is added."""
