"""Requests that go into pods: port-forwards and proxies."""
