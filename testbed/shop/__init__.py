"""The sample shop, and the load generator that watches every request between its parts."""
