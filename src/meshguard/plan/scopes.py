"""What a scope means on a cluster: which namespaces and workloads, and whether that is allowed.

A scope that matches nothing is refused; it never means "everything".
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from meshguard.mesh.protocol import Caps, Member, Mesh, Selection, Settings
from meshguard.model.codes import CODES
from meshguard.model.kinds import RESTARTABLE
from meshguard.model.objects import Ref
from meshguard.model.scopes import Asked
from meshguard.model.selector_text import parse_selector
from meshguard.model.selectors import matches
from meshguard.model.snapshot import Snapshot


class PlanError(Exception):
    """The request cannot become a plan; the message is one sentence for a person."""


class UnknownScope(PlanError):
    """The scope names something that is not in the cluster, or nothing at all."""


class ProtectedScope(PlanError):
    """The scope names a namespace that is never taken out."""


class NotInMesh(PlanError):
    """Nothing in the scope has anything to do with the mesh."""


class OverCap(PlanError):
    """The scope is larger than what may leave in one run."""


@dataclass(frozen=True)
class Resolved:
    """The namespaces that a scope concerns, and what of them is meant."""

    namespaces: frozenset[str]
    selection: Selection


def check_scope(snapshot: Snapshot, namespaces: Collection[str], protected: Collection[str]) -> None:
    """Refuse a scope that is empty, unknown or protected. Raises UnknownScope or ProtectedScope."""
    if not namespaces:
        raise UnknownScope("the scope is empty; name at least one namespace with -n")
    for name in sorted(namespaces):
        if name not in snapshot.namespaces:
            near = difflib.get_close_matches(name, snapshot.namespaces, n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UnknownScope(f"there is no namespace {name!r} in this cluster{hint}")
        if name in protected:
            code = CODES["MG701"]
            raise ProtectedScope(
                f"namespace {name} is {code.title} ({code.id}): it is never taken out of the mesh, nor restarted"
            )


def resolve(snapshot: Snapshot, mesh: Mesh, asked: Asked, settings: Settings) -> Resolved:
    """Say what a scope means on this cluster.

    Raises UnknownScope (it matches nothing, or names what is not there), ProtectedScope, NotInMesh, or OverCap.
    """
    members = mesh.members(snapshot)
    excluded = _excluded(snapshot, members, asked, settings)
    base = _base(snapshot, members, asked, settings.protected_namespaces)
    if asked.selector or asked.revision:
        base = _narrowed(members, base, asked)
    namespaces = base.namespaces - {ref.name for ref in excluded if ref.kind == "Namespace"}
    if not namespaces:
        raise UnknownScope("everything in the scope is excluded; nothing was changed")
    selection = Selection(
        frozenset(ref for ref in base.selection.chosen if ref.namespace in namespaces),
        {ref: why for ref, why in excluded.items() if ref.kind != "Namespace" and ref.namespace in namespaces},
        asked.whole_mesh,
        asked.by_label,
        asked.words(),
    )
    resolved = Resolved(namespaces, selection)
    check_caps(members, resolved, settings.caps, asked.cap)
    return resolved


def in_scope(resolved: Resolved, ref: Ref) -> bool:
    """Tell whether a workload is meant."""
    chosen = {r for r in resolved.selection.chosen if r.namespace == ref.namespace}
    return (
        ref.namespace in resolved.namespaces
        and (not chosen or ref in chosen)
        and ref not in resolved.selection.excluded
    )


def check_caps(members: Collection[Member], resolved: Resolved, caps: Caps, given: str = "") -> None:
    """Refuse a scope that is too large; `given` (`40` or `25%`) replaces the configured number or share.

    Raises OverCap, or UnknownScope for a cap that is neither.
    """
    leaving = sum(1 for member in members if in_scope(resolved, member.ref))
    share = 100.0 * leaving / len(members) if members else 0.0
    number, percent, floor = _limits(caps, given)
    if resolved.selection.whole_mesh:
        floor = 0  # everything is a share that must be said, however small the mesh
    if leaving > number:
        raise OverCap(f"the scope holds {leaving} workloads, the cap is {number}; nothing was changed (see --cap)")
    if leaving > floor and share > percent:
        raise OverCap(
            f"the scope holds {leaving} of the mesh's {len(members)} workloads ({share:.0f} %), the cap is "
            f"{percent:g} %; nothing was changed (see --cap)"
        )
    if len(resolved.namespaces) > caps.namespaces and not given:
        raise OverCap(f"the scope holds {len(resolved.namespaces)} namespaces, the cap is {caps.namespaces}")


def _limits(caps: Caps, given: str) -> tuple[int, float, int]:
    """Return the number, the share in percent, and up to which number of workloads the share is not asked."""
    if not given:
        return caps.workloads, caps.share_percent, caps.share_from
    text, is_share = given.removesuffix("%"), given.endswith("%")
    try:
        value = float(text) if is_share else int(text)
    except ValueError:
        raise UnknownScope(f"--cap takes a number of workloads or a share like 25%, not {given!r}") from None
    return (caps.workloads, value, 0) if is_share else (int(value), 100.0, 0)


def _base(snapshot: Snapshot, members: Collection[Member], asked: Asked, protected: Collection[str]) -> Resolved:
    namespaces, chosen = set(asked.namespaces), frozenset[Ref]()
    if asked.workloads:
        chosen = frozenset(_workload(snapshot, name) for name in asked.workloads)
        namespaces |= {ref.namespace for ref in chosen}
        chosen = frozenset(ref for ref in chosen if ref.namespace not in asked.namespaces)
    narrowing_only = not namespaces and bool(asked.selector or asked.revision)
    if asked.whole_mesh or narrowing_only:
        namespaces |= {member.ref.namespace for member in members} - set(protected)
        chosen = frozenset()
        if not namespaces:
            raise UnknownScope("no workload outside the protected namespaces is in the mesh; nothing was changed")
    check_scope(snapshot, namespaces, protected)
    return Resolved(frozenset(namespaces), Selection(chosen))


def _narrowed(members: Collection[Member], base: Resolved, asked: Asked) -> Resolved:
    try:
        selector = parse_selector(asked.selector) if asked.selector else None
    except ValueError as error:
        raise UnknownScope(str(error)) from error
    chosen = frozenset(
        member.ref
        for member in members
        if in_scope(base, member.ref) and matches(selector, member.labels) and asked.revision in ("", member.revision)
    )
    if not chosen:
        words = " and ".join(
            [
                *([f"the selector {asked.selector!r}"] if asked.selector else []),
                *([f"the revision {asked.revision!r}"] if asked.revision else []),
            ]
        )
        known = ", ".join(sorted({m.revision for m in members if m.revision})) or "none"
        hint = f"; revisions in use: {known}" if asked.revision else ""
        raise UnknownScope(f"{words} matches no workload that is in the mesh; nothing was changed{hint}")
    return Resolved(frozenset(ref.namespace for ref in chosen), Selection(chosen))


def _excluded(snapshot: Snapshot, members: Collection[Member], asked: Asked, settings: Settings) -> Mapping[Ref, str]:
    """Return namespaces and workloads that stay; an exclusion by option must name something that is there."""
    reasons = {**settings.exclusions, **dict.fromkeys(asked.exclude, "excluded by --exclude")}
    known = {member.ref for member in members} | {w.ref for w in snapshot.workloads if w.ref.kind in RESTARTABLE}
    found: dict[Ref, str] = {}
    for name, why in sorted(reasons.items()):
        hit = {ref for ref in known if _names(name, ref)} if "/" in name else _namespace(snapshot, name)
        if not hit and name in asked.exclude:
            raise UnknownScope(f"--exclude {name} names nothing in this cluster")
        found |= dict.fromkeys(hit, why)
    return found


def _namespace(snapshot: Snapshot, name: str) -> set[Ref]:
    return {snapshot.namespaces[name].ref} if name in snapshot.namespaces else set()


def _names(name: str, ref: Ref) -> bool:
    """Tell whether `NS/NAME` or `NS/KIND/NAME` means the workload."""
    return name.lower() in (f"{ref.namespace}/{ref.name}", f"{ref.namespace}/{ref.kind.lower()}/{ref.name}")


def _workload(snapshot: Snapshot, name: str) -> Ref:
    if "/" not in name:
        raise UnknownScope(f"a workload is named as NAMESPACE/NAME or NAMESPACE/KIND/NAME, not {name!r}")
    hits = sorted(w.ref for w in snapshot.workloads if _names(name, w.ref))
    restartable = [ref for ref in hits if ref.kind in RESTARTABLE]
    if len(restartable) == 1:
        return restartable[0]
    if restartable:
        raise UnknownScope(f"{name} could be {' or '.join(map(str, restartable))}; name the kind as well")
    if hits:
        raise UnknownScope(f"{hits[0]} is not restarted; it leaves with its whole namespace only")
    near = _near(name, snapshot)
    raise UnknownScope(f"there is no workload {name!r} in this cluster{near}")


def _near(name: str, snapshot: Snapshot) -> str:
    known: Iterable[str] = (f"{w.ref.namespace}/{w.ref.name}" for w in snapshot.workloads)
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
