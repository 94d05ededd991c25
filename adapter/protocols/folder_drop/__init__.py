"""Destinations that are folders."""
