"""Puts the mesh's questions to the ports and lets its rules judge the answers. No rule lives here."""
