"""Runbooks: what a person does when the mesh fails in a known way, as data, and what advises which."""
