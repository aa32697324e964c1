"""The readers behind the catalogue of signals: each turns what the cluster and its proxies say into numbers."""
