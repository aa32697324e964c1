"""Kubernetes behind the Cluster port. The only room that imports the Kubernetes client."""
