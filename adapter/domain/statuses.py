"""DIMSE statuses this program answers or judges (PS3.7 Annex C, PS3.4 B.2.3)."""

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.8
NO_SUCH_INSTANCE = 0x0112  # PS3.7 Annex C
NO_SUCH_EVENT_TYPE = 0x0113  # PS3.7 Annex C
INVALID_ARGUMENT_VALUE = 0x0115  # PS3.7 Annex C
INVALID_INSTANCE = 0x0117  # PS3.7 C.5.9
NO_SUCH_SOP_CLASS = 0x0118  # PS3.7 Annex C
CLASS_INSTANCE_CONFLICT = 0x0119  # PS3.7 Annex C
MISSING_ATTRIBUTE = 0x0120  # PS3.7 Annex C
SOP_CLASS_NOT_SUPPORTED = 0x0122  # PS3.7 C.5.6
NO_SUCH_ACTION_TYPE = 0x0123  # PS3.7 Annex C
NOT_AUTHORIZED = 0x0124  # PS3.7 Annex C
DUPLICATE_TRANSACTION_UID = 0x0131  # PS3.3 C.14.1.1, Failure Reason
UNRECOGNIZED_OPERATION = 0x0211  # PS3.7 C.5.15
MISTYPED_ARGUMENT = 0x0212  # PS3.7 C.5
RESOURCE_LIMITATION = 0x0213  # PS3.7 C.5.16
OUT_OF_RESOURCES = 0xA700  # PS3.4 Table B.2-1
DATA_SET_DOES_NOT_MATCH = 0xA900  # PS3.4 Table B.2-1
CANNOT_UNDERSTAND = 0xC000  # PS3.4 Table B.2-1

_NAMES = {
    SUCCESS: "success",
    0x0001: "warning: requested optional attributes not supported",
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    0x0107: "warning: attribute list error",
    PROCESSING_FAILURE: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0112: "no such SOP instance",
    0x0113: "no such event type",
    0x0114: "no such argument",
    0x0115: "invalid argument value",
    0x0116: "warning: attribute value out of range",
    INVALID_INSTANCE: "invalid SOP instance",
    0x0118: "no such SOP class",
    0x0119: "class-instance conflict",
    0x0120: "missing attribute",
    0x0121: "missing attribute value",
    SOP_CLASS_NOT_SUPPORTED: "refused: SOP class not supported",
    0x0123: "no such action type",
    0x0124: "refused: not authorized",
    DUPLICATE_TRANSACTION_UID: "duplicate transaction UID",
    0x0210: "duplicate invocation",
    UNRECOGNIZED_OPERATION: "unrecognized operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    0xB000: "warning: coercion of data elements",
    0xB006: "warning: elements discarded",
    0xB007: "warning: data set does not match SOP class",
    0xFE00: "cancel",
}
_NAMES_OF_RANGES = (
    (0xA700, 0xA7FF, "refused: out of resources"),
    (0xA900, 0xA9FF, "error: data set does not match SOP class"),
    (0xC000, 0xCFFF, "error: cannot understand"),
    (0xB000, 0xBFFF, "warning"),
)


def status_words(status: int) -> str:
    """Return the status as number and name, such as `0xA700 refused: out of resources`."""
    name = _NAMES.get(status) or next(
        (name for low, high, name in _NAMES_OF_RANGES if low <= status <= high),
        "a status the Standard does not know",
    )
    return f"0x{status:04X} {name}"


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
    return status >> 8 == 0xA7 or status in (PROCESSING_FAILURE, RESOURCE_LIMITATION)
