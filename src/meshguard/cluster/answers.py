"""What the API server answers, and what that means."""

from __future__ import annotations

import gc
import json
from dataclasses import dataclass
from typing import Any

from meshguard.cluster.errors import Conflict, Expired, Invalid, NotFound
from meshguard.ports import ClusterError, Forbidden, Rejected


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    body: bytes
    retry_after_s: float | None

    @property
    def refuses(self) -> bool:
        """A refusal that another attempt would only hear again; a webhook that is required and does not answer, too."""
        if self.status < 400:
            return False
        return (self.status < 500 and self.status != 429) or "failed calling webhook" in self.said()

    def said(self) -> str:
        """The server's own words."""
        try:
            document = json.loads(self.body)
        except ValueError:
            document = None
        if isinstance(document, dict) and document.get("message"):
            return str(document["message"])
        return self.body[:200].decode(errors="replace").strip() or f"HTTP {self.status}"


def document(body: bytes) -> Any:
    """Parse a document of the API server. Raises ValueError.

    The garbage collector rests meanwhile: it would walk over all that has been parsed again and again, which takes
    three quarters of the time for a list of 2,400 pods, and what JSON makes has no cycles.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return json.loads(body)
    finally:
        if collecting:
            gc.enable()


def refusal(status: int, message: str) -> ClusterError:
    """Make the exception that says what a client error (4xx) means."""
    match status:
        case 401:
            return Forbidden(f"the API server does not accept the credentials: {message}")
        case 403 if " cannot " in message:
            return Forbidden(message)
        case 404:
            return NotFound(message)
        case 409:
            return Conflict(message)
        case 410:
            return Expired(message)
        case 422:
            return Invalid(message)
    # 403 is also what admission plugins answer: quotas, pod security, webhooks. Nobody lacks a right there.
    return Rejected(message)


def seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header; None where there is none, or a date, which the API server does not send."""
    try:
        return None if retry_after is None else max(0.0, float(retry_after))
    except ValueError:
        return None
