"""What meshguard knows about meshes: one folder each, pure functions and tables, no I/O."""
