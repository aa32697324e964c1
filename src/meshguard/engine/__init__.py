"""Executes a plan: one phase at a time, wave by wave, journalled, verified, stoppable and resumable."""
