"""Makes plans: from a snapshot and a request to a value that can be shown, approved, stored and executed."""
