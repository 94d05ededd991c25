"""DIMSE statuses this program answers or judges (PS3.7 Annex C, PS3.4 B.2.3)."""

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.8
INVALID_INSTANCE = 0x0117  # PS3.7 C.5.9
SOP_CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 C.5.6
UNRECOGNIZED_OPERATION = 0x0211  # PS3.7 C.5.15
MISTYPED_ARGUMENT = 0x0212  # PS3.7 C.5
OUT_OF_RESOURCES = 0xA700  # PS3.4 Table B.2-1
DATA_SET_DOES_NOT_MATCH = 0xA900  # PS3.4 Table B.2-1
CANNOT_UNDERSTAND = 0xC000  # PS3.4 Table B.2-1


def is_success(status: int) -> bool:
    """Return whether a C-STORE response means that the peer has the instance.

    Warnings (0xBxxx, 0x0001, 0x0107, 0x0116) mean stored with a remark (PS3.7 C.4, PS3.4 B.2.3).
    """
    return status == SUCCESS or status >> 12 == 0xB or status in (0x0001, 0x0107, 0x0116)


def is_transient(status: int) -> bool:
    """Return whether a failed C-STORE may succeed later without a change.

    0xA7xx is the peer's lack of resources, 0x0110 a processing failure of unknown cause,
    0x0213 a resource limitation (PS3.7 C.5.16). Everything else names a fault of the instance.
    """
    return status >> 8 == 0xA7 or status in (PROCESSING_FAILURE, 0x0213)
