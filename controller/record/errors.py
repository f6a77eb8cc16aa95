"""What can go wrong with a store, each with a sentence that names the remedy."""


class RecordError(Exception):
    """The record could not be read or written; the message is a sentence for operators."""


class StoreUnusable(RecordError):  # noqa: N818 - it names a condition, as operators say it
    """The store cannot be used: missing, full, read-only, damaged, gone, or of another kind."""


class AnotherPrograms(StoreUnusable):
    """What is there is another program's: whatever is said, nothing of it may be touched."""


class Unreadable(RecordError):  # noqa: N818
    """What the store holds of one application cannot be understood; the others are not touched."""


class StoreHeld(RecordError):  # noqa: N818
    """Another daemon works on this store, or has this replica's name."""


class BackupUnusable(RecordError):  # noqa: N818
    """A backup cannot be written, or is none, or is not whole."""


class Conflict(RecordError):  # noqa: N818
    """The record changed since it was loaded, so nothing was written: look again."""


class LeaseLost(Conflict):
    """The application is another replica's by now, so nothing was written: leave it alone."""


class Taken(RecordError):  # noqa: N818
    """Another application of this store already has this endpoint, or this model and alias."""


class OrderRefused(RecordError):  # noqa: N818
    """An order names a release that does not exist, or that no order can move any more."""
