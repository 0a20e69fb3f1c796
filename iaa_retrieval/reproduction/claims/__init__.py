"""The source paper's claims, each judged on every table by a rule that was set before the numbers were looked at."""
