"""Deterministic: the same examples in every run, on every machine; a failure names the example that is smallest."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "meshguard",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
settings.load_profile("meshguard")
