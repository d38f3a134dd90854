"""The results of adopting jobs that plain arq producers put on the queue."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A job that became a dead letter.

    `cause`: a word of `sendwindow.errors.UNREADABLE`, or `id_conflict` when another message already
    has this message id. It never contains anything from the job.
    """

    message_id: str
    cause: str


@dataclass(frozen=True, slots=True)
class Adopted:
    """The result of one call to adopt.

    `taken`: how many jobs left arq's queue, whatever became of them. `unreadable`: dead letters
    that were not reported before.
    """

    taken: int
    unreadable: tuple[Unreadable, ...] = ()
