"""Reproductions on another machine, which has a GPU and reaches nothing outside: a bundle goes, results come back.

``python -m iaa_retrieval.remote bundle`` makes the bundle here, its ``run.py`` runs the trainings and their scoring
there, and ``python -m iaa_retrieval.remote collect`` takes what came back into ``reproductions/``.
"""
