"""Istio with sidecars: who is in, what blocks, the order that keeps traffic alive, and what proves it."""
