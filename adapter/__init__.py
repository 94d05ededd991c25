"""DICOM Adapter: receives DICOM, groups it into jobs for AI pipelines, sends the results back."""

__version__ = "0.1.0"
