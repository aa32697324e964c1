"""A real Kubernetes with a real Istio on one Linux machine, without Docker: the ground that meshguard is proven on.

Everything runs in namespaces of its own (network, mount, process ids, cgroups), so that ending one process ends all
of it. Run ``python -m testbed --help`` from the checkout.
"""
