"""What one data-plane proxy really has, reduced to the facts that decide whether traffic lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from meshguard.model.objects import Ref


class UpstreamTls(StrEnum):
    """How a proxy encrypts towards a cluster."""

    NEVER = "plaintext"
    PER_ENDPOINT = "auto"
    """Auto mTLS: decided endpoint by endpoint, by the server pod's mark."""
    ALWAYS = "mutual"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as a client's proxy knows it."""

    address: str
    """`ip:port`."""
    tls: bool
    """True when the endpoint is marked for mutual TLS."""
    healthy: bool = True


@dataclass(frozen=True, slots=True)
class InboundPort:
    """What a proxy accepts on one port of its own pod."""

    plaintext: bool
    mutual_tls: bool
    sniffs: bool = True
    """The listener waits for the first bytes to tell TLS from plaintext: a server-first protocol hangs there."""


@dataclass(frozen=True)
class ProxyFacts:
    """The facts read from one proxy; `None` for a part that was not asked for."""

    pod: Ref
    inbound: Mapping[int, InboundPort] | None = None
    """By container port; 0 stands for every port that is not listed."""
    clusters: Mapping[str, UpstreamTls] | None = None
    """By service host and port, `host:port`, for subsets `host:port/subset`."""
    endpoints: Mapping[str, tuple[Endpoint, ...]] | None = None
    """By the same keys."""
    authz: Mapping[str, Mapping[int, bool]] | None = None
    """For each AuthorizationPolicy (`namespace/name`) its rules by index, and whether each judges who calls."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """Envoy's own counters, by name."""


@dataclass(frozen=True)
class ProxyUnreachable:
    """A proxy that could not be read; never counted as healthy."""

    pod: Ref
    reason: str
    nobody_there: bool = False
    """The question was turned down at once, because nobody takes it: neither silence nor a lack of rights."""


@dataclass(frozen=True)
class Connected:
    """Which proxies have a connection to a control plane, by all that its replicas say."""

    pods: frozenset[Ref] = frozenset()
    answered: frozenset[Ref] = frozenset()
    """The replicas that said so."""
    silent: Mapping[Ref, str] = field(default_factory=dict)
    """Replicas that could not be asked, and why; their proxies are unknown, not gone."""
