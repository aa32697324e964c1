"""What a proxy's inbound listener accepts, port by port."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from meshguard.model.objects import dig
from meshguard.model.proxy import InboundPort
from meshguard.signals.admin import INBOUND_LISTENER

_BLACKHOLE = "virtualInbound-blackhole"
_INSPECTORS = ("envoy.filters.listener.tls_inspector", "envoy.filters.listener.http_inspector")
_TLS = "envoy.transport_sockets.tls"
_OTHER_PORTS = 0


def inbound_listener(dump: Mapping[str, Any]) -> Mapping[str, Any]:
    """Pick the active inbound listener of a config_dump; {} where the proxy has none (a gateway, or no iptables).

    A warming listener does not serve yet, a draining one serves old connections only.
    """
    for entry in dump.get("configs") or ():
        if entry.get("name") == INBOUND_LISTENER:
            return dig(entry, "active_state", "listener", default={})  # type: ignore[no-any-return]
    return {}


def inbound_ports(listener: Mapping[str, Any]) -> dict[int, InboundPort]:
    """Say what is accepted on each container port; 0 stands for all ports without a filter chain of their own."""
    chains: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for chain in listener.get("filter_chains") or ():
        if chain.get("name") != _BLACKHOLE:
            chains[dig(chain, "filter_chain_match", "destination_port", default=_OTHER_PORTS)].append(chain)
    inspectors = [f for f in listener.get("listener_filters") or () if f.get("name") in _INSPECTORS]
    return {
        port: InboundPort(
            plaintext=any(_accepts_plaintext(chain) for chain in members),
            mutual_tls=any(_demands_certificate(chain) for chain in members),
            sniffs=any(not _matches(f.get("filter_disabled"), port) for f in inspectors),
        )
        for port, members in sorted(chains.items())
    }


def _accepts_plaintext(chain: Mapping[str, Any]) -> bool:
    # A chain for "tls" without a TLS socket passes the client's own TLS through to the application.
    protocol = dig(chain, "filter_chain_match", "transport_protocol", default="")
    return "transport_socket" not in chain and protocol in ("", "raw_buffer")


def _demands_certificate(chain: Mapping[str, Any]) -> bool:
    socket = chain.get("transport_socket") or {}
    return socket.get("name") == _TLS and bool(dig(socket, "typed_config", "require_client_certificate"))


def _matches(predicate: Mapping[str, Any] | None, port: int) -> bool:
    """Evaluate a ListenerFilterChainMatchPredicate on a destination port; no predicate matches nothing.

    Raises ValueError for a predicate that does not speak of ports.
    """
    if predicate is None:
        return False
    for rule, value in predicate.items():
        match rule:
            case "destination_port_range":
                return bool(value.get("start", 0) <= port < value.get("end", 0))
            case "or_match":
                return any(_matches(one, port) for one in _rules(value))
            case "and_match":
                return all(_matches(one, port) for one in _rules(value))
            case "not_match":
                return not _matches(value, port)
            case "any_match":
                return bool(value)
    raise ValueError(f"unknown listener filter predicate: {predicate}")


def _rules(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from value.get("rules") or ()
