"""The commands of `dicom-adapter`, by what they are about; `adapter.cli` puts them together."""
