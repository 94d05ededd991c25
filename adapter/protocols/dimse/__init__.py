"""DICOM upper layer and message exchange (PS3.7, PS3.8), both roles."""
