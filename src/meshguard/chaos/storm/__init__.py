"""Many xDS clients in one process: what istiod pays for a fleet, without the fleet."""
