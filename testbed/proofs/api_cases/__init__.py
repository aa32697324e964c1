"""Cases for the comparison of the simulated API server with the real one: data, no code that judges."""

from testbed.proofs.api_cases import controllers, conversation, kubectl, objects, ownership, patches, refusals, rights
from testbed.proofs.api_cases.case import Case

ALL: tuple[Case, ...] = (
    *objects.CASES,
    *refusals.CASES,
    *patches.CASES,
    *ownership.CASES,
    *conversation.CASES,
    *rights.CASES,
    *controllers.CASES,
    *kubectl.CASES,
)
