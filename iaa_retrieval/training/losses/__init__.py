"""Training losses, one module each; :mod:`.loss` says what a loss is given, :mod:`.registry` how one is added."""
