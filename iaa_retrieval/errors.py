"""The kinds of failure a user can cause; the command line turns each into one clear line."""


class IaaRetrievalError(Exception):
    """The work failed (exit code 1). The message names the file, line or id and says what to do."""


class NotFiniteError(IaaRetrievalError):
    """A model or its training gave numbers that are not finite, as a learning rate that is too high makes them."""


class UsageError(IaaRetrievalError):
    """What was asked for cannot be meant (exit code 2): an unknown name, contradicting options."""
