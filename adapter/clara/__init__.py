"""Configurations of Clara DICOM Adapter, read into ours: `dicom-adapter config convert`."""
