"""Heads of a cross-encoder, from token vectors to a score: ``head`` says what one is, ``registry`` how one is added."""
