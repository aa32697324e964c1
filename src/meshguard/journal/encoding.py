"""A run's record as ConfigMaps: compressed, and cut into parts, because the API server limits the size of an object.

`run-RUN` is the head and is written last. What does not fit into it goes on in `run-RUN-plan-N`, and the journal is in
`run-RUN-journal-N`. A journal only grows, so all its parts but the last stay as they are from one mirror to the next.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from meshguard.journal.entries import Head
from meshguard.journal.errors import RecordError
from meshguard.journal.records import RECORD_LABEL, RUN_LABEL, STATUS_LABEL, RecordStatus, RunRecord, record_ref
from meshguard.journal.state import StepState
from meshguard.model.objects import Ref, Resource, dig
from meshguard.model.plan import Plan

PLAN_BYTES = 300_000
"""How much of a compressed plan one ConfigMap takes. The API server allows 1 MiB for an object as a whole, and the head
holds the state as well: 40 bytes for each object's digest, less for all the rest."""
JOURNAL_BYTES = 512 * 1024
"""How much of the journal one ConfigMap takes; even if it could not be compressed at all it would fit."""

Manifest = tuple[Ref, dict[str, str], dict[str, str]]
"""A ConfigMap: reference, data and labels."""


def encode(record: RunRecord) -> list[Manifest]:
    """Return the ConfigMaps of a record in the order in which they must be written."""
    first, *more = _cut(_packed(record.plan.document()))
    slices = [record.journal[at : at + JOURNAL_BYTES] for at in range(0, len(record.journal), JOURNAL_BYTES)]
    plain = {RUN_LABEL: record.run}
    data = {
        "run": record.run,
        "person": record.person,
        "reason": record.reason,
        "started": record.started,
        "status": record.status.value,
        "direction": record.plan.direction.value,
        "namespaces": " ".join(record.plan.namespaces),
        "planHash": record.plan.hash,
        "planParts": str(1 + len(more)),
        "plan": first,
        "journal": str(record.head),
        "journalParts": str(len(slices)),
        "state": _packed(
            {
                "steps": {step: state.value for step, state in record.states.items()},
                "phases": dict(record.phases),
                "uids": dict(record.uids),
                "undone": sorted([str(undone), list(path)] for undone, path in record.undone),
                "fingerprints": dict(record.fingerprints),
            }
        ),
    }
    parts = [(_part(record.run, "plan", number), {"plan": part}) for number, part in enumerate(more, start=1)]
    parts += [
        (_part(record.run, "journal", number), {"journal": _compressed(lines)})
        for number, lines in enumerate(slices, start=1)
    ]
    head = (record_ref(record.run), data, {**plain, RECORD_LABEL: "run", STATUS_LABEL: record.status.value})
    return [*((ref, part, {**plain, RECORD_LABEL: "part"}) for ref, part in parts), head]


def decode(head: Resource, parts: Mapping[Ref, Resource], *, journal: bool = True) -> RunRecord:
    """Read a record back from its ConfigMap and its parts, without the journal if that is not needed.

    Raises RecordError when a part is missing or damaged.
    """
    data: Mapping[str, str] = dig(head.doc, "data", default={})
    try:
        run = data["run"]
        names = [_part(run, "plan", number) for number in range(1, int(data["planParts"]))]
        plan = _unpacked("".join([data["plan"], *(parts[ref].doc["data"]["plan"] for ref in names)]))
        state = _unpacked(data["state"])
        return RunRecord(
            run=run,
            plan=Plan.from_json(plan),
            person=data["person"],
            reason=data["reason"],
            started=data["started"],
            status=RecordStatus(data["status"]),
            head=Head.parse(data["journal"]),
            states={step: StepState(value) for step, value in state["steps"].items()},
            phases=state["phases"],
            uids=state["uids"],
            undone=frozenset((Ref.parse(text), tuple(path)) for text, path in state["undone"]),
            fingerprints=state["fingerprints"],
            journal=_joined(run, int(data.get("journalParts", "0")), parts) if journal else b"",
            taken_over=data.get("takenOver", ""),
        )
    except KeyError as error:
        raise RecordError(f"the record {head.ref} is incomplete: {error} is missing") from error
    except (ValueError, TypeError, OSError, EOFError, zlib.error) as error:
        raise RecordError(f"the record {head.ref} cannot be read: {error}") from error


def _joined(run: str, count: int, parts: Mapping[Ref, Resource]) -> bytes:
    refs = [_part(run, "journal", number) for number in range(1, count + 1)]
    return b"".join(_decompressed(parts[ref].doc["data"]["journal"]) for ref in refs)


def _part(run: str, of: str, number: int) -> Ref:
    whole = record_ref(run)
    return Ref(whole.kind, whole.namespace, f"{whole.name}-{of}-{number}")


def _packed(value: Any) -> str:
    return _compressed(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def _unpacked(text: str) -> Any:
    return json.loads(_decompressed(text))


def _compressed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


def _decompressed(text: str) -> bytes:
    return gzip.decompress(base64.b64decode(text, validate=True))


def _cut(text: str) -> Sequence[str]:
    return [text[at : at + PLAN_BYTES] for at in range(0, len(text), PLAN_BYTES)]
