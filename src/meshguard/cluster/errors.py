"""What can go wrong between meshguard and the API server, beyond what the port tells the engine."""

from __future__ import annotations

from meshguard.ports import Gone, Rejected, Unreachable


class ConfigError(Exception):
    """The kubeconfig, its context or its credentials cannot be used; one sentence, usage error (exit code 2)."""


class NotFound(Gone):
    """404: no such object, or no such kind in this cluster."""


class Conflict(Rejected):
    """409: the object exists already, has another UID, or was written by somebody else at the same moment."""


class Invalid(Rejected):
    """422: a `test` of a JSON Patch failed, or the object breaks its schema; the two look alike."""


class Expired(Rejected):
    """410: the continue token of a paged LIST is too old."""


class Undecided(Unreachable):
    """A write was sent and no answer came: it may have happened or not. Whoever sent it must look."""
