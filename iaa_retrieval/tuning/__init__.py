"""Parameter-efficient tuning methods: the registry, budgets, and our own tuners inside PEFT.

``methods`` and ``budget`` are light (no torch); ``apply`` puts a method on a model; ``tuners`` holds what we add to
PEFT; ``registration`` makes PEFT know it, by itself when a process that imported ``iaa_retrieval`` imports PEFT.
"""
