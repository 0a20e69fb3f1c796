"""Training losses, one module each; ``loss`` says what a loss is given, ``registry`` how one is added."""
