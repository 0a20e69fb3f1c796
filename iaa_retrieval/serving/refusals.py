"""What the engine refuses, apart by what a client did wrong."""

from iaa_retrieval.errors import UsageError


class BadRequest(UsageError):
    """A parameter that cannot be meant, or an unknown checkpoint."""


class QueryTooLong(BadRequest):
    """A query of more characters than the server takes."""


class UnknownIndex(UsageError):
    """An alias that the server does not have."""


class UnknownSystem(UsageError):
    """A system that the server does not have."""


class UnknownDocument(UsageError):
    """A document that the index does not have."""
