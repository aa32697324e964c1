"""What meshguard has to say about an object before anybody agrees to a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from meshguard.model.objects import Ref


class Severity(StrEnum):
    """How much a finding weighs: `blocks` needs a remedy or a consent, `warns` has a cost, `tells` informs."""

    BLOCKS = "blocks"
    WARNS = "warns"
    TELLS = "tells"


@dataclass(frozen=True, slots=True)
class Code:
    """An entry of the registry of finding codes: everything that is true of every finding with this code."""

    id: str
    title: str
    severity: Severity
    consequence: str
    remedy: str
    source: str
    consent: str = ""
    """The option that turns a block into an accepted cost; "" where nobody may accept it."""
    example: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One code that holds for one object, with the particulars that a person needs at 3 a.m."""

    code: Code
    object: Ref
    detail: str
    accepted: bool = False

    @property
    def blocks(self) -> bool:
        """True while the finding forbids the plan."""
        return self.code.severity is Severity.BLOCKS and not self.accepted

    def to_json(self) -> dict[str, Any]:
        """The public JSON form."""
        return {
            "code": self.code.id,
            "severity": self.code.severity.value,
            "accepted": self.accepted,
            "object": str(self.object),
            "title": self.code.title,
            "detail": self.detail,
            "consequence": self.code.consequence,
            "remedy": self.code.remedy,
            "consent": self.code.consent,
            "source": self.code.source,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Finding:
        """Read back `to_json`; the code is the one that was written. Raises KeyError or ValueError."""
        code = Code(
            data["code"],
            data["title"],
            Severity(data["severity"]),
            data["consequence"],
            data["remedy"],
            data["source"],
            data["consent"],
        )
        return cls(code, Ref.parse(data["object"]), data["detail"], bool(data["accepted"]))
