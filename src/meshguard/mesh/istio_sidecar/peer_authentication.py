"""Which TLS mode a server demands, port by port, by Istio's own merge rules.

Port beats workload beats namespace beats mesh; in each scope the oldest policy wins; UNSET inherits; a policy with a
selector in the root namespace is ignored; port levels count only in the oldest matching workload policy.
Source: Istio `pilot/pkg/security/authn/policy_applier.go` (ComposePeerAuthentication),
`pilot/pkg/model/authentication.go`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from meshguard.model.objects import Resource, dig
from meshguard.model.snapshot import Snapshot


class Mode(StrEnum):
    """What a server accepts."""

    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"

    @property
    def takes_plaintext(self) -> bool:
        """True when a caller without a proxy gets through."""
        return self in (Mode.PERMISSIVE, Mode.DISABLE)


@dataclass(frozen=True)
class EffectiveMode:
    """What holds for one workload: a mode for all ports, and those ports that differ."""

    mode: Mode
    ports: Mapping[int, Mode] = field(default_factory=dict)

    def of(self, port: int) -> Mode:
        """The mode of one container port."""
        return self.ports.get(port, self.mode)

    @property
    def strict_somewhere(self) -> bool:
        """True when at least one port refuses plaintext."""
        return Mode.STRICT in (self.mode, *self.ports.values())


def mode_of(policy: Resource | None) -> Mode:
    """The policy's own mode; UNSET where it is silent or there is no policy."""
    return Mode(dig(policy.doc, "spec", "mtls", "mode", default="UNSET")) if policy else Mode.UNSET


def port_modes(policy: Resource | None) -> Mapping[int, Mode]:
    """The policy's own port levels, UNSET ones left out."""
    levels = dig(policy.doc, "spec", "portLevelMtls", default={}) if policy else {}
    modes = {int(port): Mode(dig(level, "mode", default="UNSET")) for port, level in levels.items()}
    return {port: mode for port, mode in modes.items() if mode is not Mode.UNSET}


def selector_of(policy: Resource) -> Mapping[str, str]:
    """The labels that the policy selects by; empty for a whole namespace."""
    return dig(policy.doc, "spec", "selector", "matchLabels", default={})  # type: ignore[no-any-return]


def oldest(policies: Iterable[Resource]) -> Resource | None:
    """The policy that wins in its scope: the oldest, then by name."""
    return min(policies, key=lambda p: (p.created, p.ref.name, p.ref.namespace), default=None)


class PeerPolicies:
    """All PeerAuthentications of a cluster, ready to be asked."""

    def __init__(self, snapshot: Snapshot, root_namespace: str) -> None:
        self._root = root_namespace
        self._of_namespace: dict[str, list[Resource]] = defaultdict(list)
        for policy in snapshot.of_kind("PeerAuthentication"):
            self._of_namespace[policy.ref.namespace].append(policy)

    def _general(self, namespace: str) -> Resource | None:
        return oldest(p for p in self._of_namespace.get(namespace, ()) if not selector_of(p))

    def mesh_level(self) -> Resource | None:
        """The policy that holds for the whole mesh."""
        return self._general(self._root)

    def namespace_level(self, namespace: str) -> Resource | None:
        """The policy that holds for a namespace; none for the root namespace, whose policy is the mesh's."""
        if namespace == self._root:
            return None
        return self._general(namespace)

    def workload_level(self, namespace: str, labels: Mapping[str, str]) -> Resource | None:
        """The policy with a selector that holds for pods with these labels; one in the root namespace never does."""
        if namespace == self._root:
            return None
        return oldest(
            p
            for p in self._of_namespace.get(namespace, ())
            if selector_of(p) and selector_of(p).items() <= labels.items()
        )

    def namespace_mode(self, namespace: str) -> Mode:
        """What holds for pods of the namespace that no selector picks."""
        for policy in (self.namespace_level(namespace), self.mesh_level()):
            mode = mode_of(policy)
            if mode is not Mode.UNSET:
                return mode
        return Mode.PERMISSIVE

    def effective(self, namespace: str, labels: Mapping[str, str]) -> EffectiveMode:
        """What holds for pods with these labels."""
        workload = self.workload_level(namespace, labels)
        mode = mode_of(workload)
        if mode is Mode.UNSET:
            mode = self.namespace_mode(namespace)
        return EffectiveMode(mode, port_modes(workload))
