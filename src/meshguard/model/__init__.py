"""Frozen values of the domain: what a cluster holds, what a plan says, what was found. No I/O."""
