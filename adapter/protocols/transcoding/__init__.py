"""Uncompressed copies of instances, for destinations that take no other; pictures for people."""
