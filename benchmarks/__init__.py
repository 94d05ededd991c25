"""Measurements of the adapter, each against real peers: `python -m benchmarks.NAME`."""
