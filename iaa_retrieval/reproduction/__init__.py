"""Whole experiments: the quickstart's job, and published conditions with their expected scores."""
