"""Trio actors: they decide *when*; what is decided lives in `adapter.domain`."""
