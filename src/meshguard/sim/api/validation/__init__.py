"""What the API server refuses in an object of a built-in kind, as tables; the wording is Kubernetes' own."""
