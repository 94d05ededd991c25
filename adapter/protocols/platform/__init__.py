"""Engines that run a pipeline on a payload: `folder`, `command`."""
