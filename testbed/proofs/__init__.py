"""The proofs: each big claim of meshguard, made on the real cluster by one command."""
