"""What instances say of themselves, made of the UIDs of study and instance; copies agree in it."""

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
SYNTAX = "1.2.840.10008.1.2.1"
STUDY, SERIES, PATIENT_ID = "0020,000D", "0020,000E", "0010,0020"


def sop_class_of(uid: str) -> str:
    """Return the SOP class: every fourth is an MR image."""
    return CT if _last_of(uid) % 4 else MR


def attributes_of(study: str, uid: str) -> dict[str, str]:
    """Return attributes by tag: a patient has several studies, every fifth instance names none."""
    named = {STUDY: study, SERIES: f"{study}.1"}
    return named | {PATIENT_ID: f"P{_last_of(study) % 2}"} if _last_of(uid) % 5 else named


def _last_of(uid: str) -> int:
    return int(uid.rpartition(".")[2])
