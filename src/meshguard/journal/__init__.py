"""The record of a run: an append-only, fsynced, hash-chained file, and its mirror in the cluster."""
