"""The numbers of the model, each with where it comes from.

`published`: a project's own figures. `source`: read in its code. `assumed`: nobody has measured it for us; it sets a
scale and not an order. Nothing here has been compared with the testbed yet. The four free parameters that were
calibrated on the historic timeline are fields of the scenario (`calibrated`), and not here.
"""

from __future__ import annotations

STEP_S = 1.0
"""How often load, memory and latency are looked at. Pushes, probes and restarts are events with times of their own."""

# Envoy's memory, MiB
ENVOY_BASE_MIB = 38.0
"""Proxy and agent without configuration. Assumed, so that 300 services at 1x come to the 80 MB of the story."""
CLUSTER_MIB = 0.044
"""An EDS cluster with one host. Published: Envoy, 44 kB with statistics."""
ENDPOINT_MIB = 0.00025
"""Every further host of a cluster. Published: Envoy, 250 B."""
MIB_PER_RPS = 0.060
"""Published: Istio 1.24, 60 MB for each 1,000 requests a second."""
MIB_PER_IN_FLIGHT = 0.003
"""Buffers and headers of a request that waits. Assumed: some kB of body and the streams' own memory."""
LONGEST_WAIT_S = 2.0
"""A sidecar's callers have given up on what waits longer, on the mean. Assumed."""
GROWTH_S = 20.0
"""How fast the heap follows the load upwards. Assumed."""
SHRINK_S = 600.0
"""How slowly the allocator gives memory back. Assumed; tcmalloc keeps most of it."""

# CPU, cores
CORES_PER_RPS = 0.0002
"""Of a sidecar. Published: Istio 1.24, 0.20 vCPU for each 1,000 requests a second."""
APP_CORES_PER_RPS = 0.00013
"""Of an application. Assumed."""
MAIN_THREAD_CORES = 1.0
"""Envoy takes configuration on its main thread, so on one core at most. Source: Envoy, threading model."""
EDS_SHARE = 0.35
"""What an endpoints-only push costs, as a share of a full one. Assumed."""

# istiod
DEBOUNCE_S = 0.1
"""Source: Istio, PILOT_DEBOUNCE_AFTER."""
DEBOUNCE_MOST_S = 10.0
"""Source: Istio, PILOT_DEBOUNCE_MAX."""
CONTEXT_S = 0.4
"""The push context of 1,000 services, on one core. Assumed."""
SEND_CORE_S = 0.006
"""Building and sending a configuration of 300 services to one proxy. Assumed; istio/istio#35263 gives the scale."""
SEND_LEAST_S = 0.01
"""A send that waits for nobody's CPU still waits for the network. Assumed."""
ISTIOD_BASE_MIB = 400.0
"""Assumed."""
ISTIOD_MIB_PER_PROXY = 1.5
"""Published by a cloud provider: 1.3-2.0 MB of istiod for each sidecar."""
NEWEST_MINORS = 2
"""So many minor versions may a sidecar be behind. Source: Istio, supported skew."""


def default_throttle(cores: float) -> int:
    """Concurrent pushes, and new streams a second.

    Source: Istio, PILOT_PUSH_THROTTLE and PILOT_MAX_REQUESTS_PER_SECOND.
    """
    return int(min(15 + 5 * cores, 100))


# Kubernetes
EVICTION_MIB = 100.0
"""Hard eviction: memory.available below this. Source: kubelet's default."""
RECLAIM_SHARE = 0.08
"""An eviction goes on until so much of the node is free. Assumed; providers set minimum-reclaim between 0 and 10 %."""
HOUSEKEEPING_S = 10.0
"""The kubelet looks at its node's memory so often, and probes readiness so often. Source: kubelet; its defaults."""
PRESSURE_S = 300.0
"""MemoryPressure stays at least so long, and the scheduler avoids the node. Source: kubelet's default."""
BACKOFF_S, BACKOFF_MOST_S = 10.0, 300.0
"""Pauses between restarts of a container. Source: kubelet."""
SCHEDULE_S = 1.0
"""From the end of a pod until its replacement has a node. Assumed."""
START_S = 12.0
"""From the node until it is ready, with a proxy that waits for its configuration. Assumed."""
SYSTEM_MIB = 1200.0
"""Kubelet, runtime, agents. Assumed."""

# Latency
HOP_MS = 4.0
"""P99 of one hop between two services without load, the sidecars' part included. Published: Istio, 2-5 ms added."""
TIMEOUT_S = 10.0
"""A person's request is given up. Assumed."""
BUSIEST = 0.98
"""Up to here a queue is in balance; beyond it work piles up, second by second."""
PROBE_TIMEOUT_S = 1.0
"""Kubernetes' default for readiness probes."""
FLAP_SHARE = 0.004
"""Of the pods of a node without CPU so many fail a probe for good at each look: three timeouts in a row. Assumed."""
RETRIES = 2
"""A mesh's default for connections that fail. Source: Istio, retry policy."""
