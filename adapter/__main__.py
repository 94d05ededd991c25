"""`python -m adapter` is the command `dicom-adapter`."""

from adapter.cli import main

main()
