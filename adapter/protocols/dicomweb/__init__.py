"""Destinations that are DICOMweb services (PS3.18)."""
