"""Transfer syntaxes that the program has to tell apart (PS3.6 A), by their names there."""

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
"""The default, which everybody has to know (PS3.5 10.1)."""
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
"""Retired."""
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
