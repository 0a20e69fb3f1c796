"""Encoders and re-rankers behind a search service, and its page."""
