"""Game days: live through an incident on a simulated cluster, with the real commands, and get a report of it."""
