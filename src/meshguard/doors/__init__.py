"""Doors by which tools other than our own command line come in. They translate, and decide nothing."""
