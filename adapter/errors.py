"""Expected failures, one root. Edges translate library errors into these; the rest are bugs."""


class GatewayError(Exception):
    """Something this program expects to happen and knows how to answer."""


class ConfigurationError(GatewayError):
    """The configuration cannot be used; raised at boot only.

    Attributes:
        problems: One line each: file, key path, value, what is allowed.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PortUnavailableError(GatewayError):
    """A listening port cannot be bound; raised at boot only."""


class UnavailableError(GatewayError):
    """A peer or a resource cannot serve now; the same call may succeed later."""


class PostponedError(UnavailableError):
    """It asks to be called again later: no failure, so no try is counted.

    Attributes:
        retry_after_s: Not before so many seconds have passed; 0: it did not say when.
    """

    def __init__(self, words: str, retry_after_s: float = 0.0) -> None:
        super().__init__(words)
        self.retry_after_s = retry_after_s


class ClusterRefusalError(UnavailableError):
    """The API server of Kubernetes answered, and not with what it was asked for.

    Attributes:
        status: Of HTTP (RFC 9110 15), or of the Status object in a watch.
    """

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.status = status


class PeerRefusalError(UnavailableError):
    """A DICOM peer did not take an association; the text says so in words.

    Attributes:
        cause: One of `domain.refusals.Cause`.
        codes: Result, source, reason of A-ASSOCIATE-RJ; source, reason of A-ABORT; result of a
            presentation context; else nothing.
    """

    def __init__(self, words: str, cause: str, codes: tuple[int, ...] = ()) -> None:
        super().__init__(words)
        self.cause = cause
        self.codes = codes


class StorageFullError(UnavailableError):
    """The file system has no room (ENOSPC, EDQUOT)."""


class StorageFaultError(UnavailableError):
    """The file system failed (EIO, EROFS, ...); nothing was acknowledged."""


class GroupClosedError(UnavailableError):
    """The group an instance was placed in has closed meanwhile; the sender may try again."""


class PipelineError(GatewayError):
    """A pipeline ended without a result."""


class PayloadLostError(GatewayError):
    """What a job is to be given is not there any more; another try changes nothing."""


class LedgerError(GatewayError):
    """The ledger cannot be read or written."""


class FullLedgerError(LedgerError):
    """The ledger has no room; nothing was written, and the same change may be written later."""


class DamagedLedgerError(LedgerError):
    """What lies where the ledger is kept is no ledger any more; another look changes nothing."""


class RowNotFoundError(LedgerError):
    """The ledger holds no such row."""


class RefusedDataSetError(GatewayError):
    """A data set that says nothing we can act on.

    Attributes:
        status: The DIMSE status to answer with.
        comment: Its Error Comment.
    """

    def __init__(self, status: int, comment: str) -> None:
        super().__init__(comment)
        self.status = status
        self.comment = comment
