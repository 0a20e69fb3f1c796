"""Documents, queries, judgments and runs, from wherever they are."""
