"""What became of jobs that plain arq producers put on the queue."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A job that became a dead letter.

    `cause`: a word of `sendwindow.errors.UNREADABLE`, or `id_conflict` when its message id is another message's. Never
    anything out of the job.
    """

    message_id: str
    cause: str


@dataclass(frozen=True, slots=True)
class Adopted:
    """`taken`: jobs no longer on arq's queue, whatever became of them. `unreadable`: dead letters not told before."""

    taken: int
    unreadable: tuple[Unreadable, ...] = ()
