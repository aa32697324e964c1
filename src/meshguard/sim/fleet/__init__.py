"""The fleet: what nodes, proxies and the control plane do under load. Pure, seeded, on simulated time.

Written from Kubernetes', Istio's and Envoy's own documents and sources, and from nothing of meshguard: its rules must
not be repeated here, or a rehearsal would prove nothing.
"""
