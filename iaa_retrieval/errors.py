"""The two kinds of failure a user can cause; the command line turns each into one clear line."""


class IaaRetrievalError(Exception):
    """The work failed (exit code 1). The message names the file, line or id and says what to do."""


class UsageError(IaaRetrievalError):
    """What was asked for cannot be meant (exit code 2): an unknown name, contradicting options."""
