"""What a person has agreed to, in the words of the options, and whether that is enough for a plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from meshguard.journal.local import NOT_MIRRORED
from meshguard.mesh.protocol import Consents
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref
from meshguard.model.plan import Plan

#: Consents without a value, and the fields of Consents that they set.
_FLAGS = {
    "accept-authz-loss": "authz_loss",
    "accept-fail-open": "fail_open",
    "accept-egress-plaintext": "egress_plaintext",
    "accept-routing-loss": "routing_loss",
    "accept-unknown-version": "unknown_version",
    "declare-outage": "outage",
    "local-journal-only": "local_journal_only",
}


class ConsentError(Exception):
    """Consent, a right or a reason is missing; nothing was changed."""


class EditsRefused(ConsentError):
    """The API server, or a webhook behind it, would not take an edit of the plan."""

    def __init__(self, refused: Iterable[tuple[Ref, str]]) -> None:
        listed = "; ".join(f"{ref}: {why}" for ref, why in refused)
        super().__init__(f"a dry run of the policy edits was refused, nothing was changed: {listed}")


class Blocked(ConsentError):
    """Findings forbid the plan."""

    def __init__(self, blockers: tuple[Finding, ...]) -> None:
        listed = "; ".join(f"{f.code.id} {f.object}: {f.detail}" for f in blockers)
        super().__init__(f"blocked, nothing was changed: {listed}")
        self.blockers = blockers


def settle(plan: Plan, lacking: Sequence[str] = ()) -> None:
    """Raise Blocked when a finding still forbids the plan, ConsentError when the person lacks rights for it.

    That nobody but this machine would know of the run is a small matter for somebody who could not carry it out: then
    the rights are told first.
    """
    if all(finding.code.id == NOT_MIRRORED for finding in plan.blockers):
        settle_rights(lacking)
    if plan.blockers:
        raise Blocked(plan.blockers)


def settle_rights(lacking: Sequence[str]) -> None:
    """Raise ConsentError that names every right that is missing."""
    if lacking:
        raise ConsentError(f"nothing was changed; rights are missing: {'; '.join(lacking)}")


def consents_from(words: Iterable[str]) -> Consents:
    """Read consents as the options write them, without their dashes: `accept-interruption NS/WORKLOAD`.

    Raises ConsentError for words that are no consent.
    """
    flags: set[str] = set()
    rules: set[str] = set()
    interruptions: set[str] = set()
    for word in words:
        name, _, value = word.removeprefix("--").partition(" ")
        match name, value.strip():
            case flag, "" if flag in _FLAGS:
                flags.add(_FLAGS[flag])
            case "accept-authz-rule", rule if rule:
                rules.add(rule)
            case "accept-interruption", place if place:
                interruptions.add(place)
            case _:
                raise ConsentError(f"{word!r} is not a consent")
    return Consents(authz_rules=frozenset(rules), interruptions=frozenset(interruptions), **dict.fromkeys(flags, True))
