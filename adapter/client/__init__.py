"""What the command line does as a client: DICOM peers and running adapters."""
