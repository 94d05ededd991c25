"""`dicom-adapter demo`: the whole job on real DICOM files, each step verified."""
