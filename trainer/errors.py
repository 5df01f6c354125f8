"""Errors of the trainer.

    MetasimError
    ├── InputError           wrong input: the command line prints its line and exits with 2
    │   ├── GrammarError     a grammar or experiment file is wrong
    │   └── PoolUnreachable  no render worker answers at the endpoint
    ├── TranslationRefused   a translation model breaks labels
    └── RenderError          a task could not be rendered; carries `task_id`
        ├── TaskRefused      the task itself is wrong, so every worker refuses it
        └── PoolLost         no worker was left, and none came back in time

Every text is one line that names the thing, its
value, what is allowed and, where there is one, the next step.
"""

import errno

#: Reasons that a user can remove when a file cannot be written.
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
}


class MetasimError(Exception):
    """Base class of all errors that this package raises on purpose."""


class InputError(MetasimError):
    """A file, an option, an address or an environment variable is wrong."""


class GrammarError(InputError):
    """A grammar or experiment file is wrong: `FILE:LINE: PLACE is VALUE; what is allowed`, on one line."""


class PoolUnreachable(InputError):  # noqa: N818
    """No render worker answers at the endpoint."""


class TranslationRefused(MetasimError):  # noqa: N818
    """A translation model removes, moves or invents objects, so labels would not hold."""


class RenderError(MetasimError):
    """A task could not be rendered.

    Attributes:
        task_id: `RenderTask.id` of the task.
    """

    def __init__(self, task_id: str, message: str) -> None:
        super().__init__(f"task {task_id!r}: {message}")
        self.task_id = task_id


class TaskRefused(RenderError):  # noqa: N818
    """The task itself is wrong, so no worker can render it."""


class PoolLost(RenderError):  # noqa: N818
    """No worker was left to render the task, and none came back in time."""


def file_problem(error: OSError) -> str | None:
    """Return why a file cannot be read or written, in one line; None for other kinds of errors."""
    reason = _FULL.get(error.errno or 0)
    return None if reason is None else f"{error.filename or 'a file'}: {reason}"
