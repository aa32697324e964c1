"""The tables that `kubectl get` prints: the server makes them, the client only aligns them."""
