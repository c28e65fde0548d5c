"""What happens when something happens that should not: the process ends before anything wrong is acked."""

from __future__ import annotations

import logging
import os
from typing import NoReturn, Protocol

EXIT_FAILED = 70
"""Exit code of a worker that stopped itself (EX_SOFTWARE); its supervisor starts it again."""

EXIT_REFUSED = 78
"""Exit code of one that waiting would not mend (EX_CONFIG); its supervisor ends as well."""

logger = logging.getLogger(__name__)


class WorkerFailedError(Exception):
    """The worker has stopped itself; the message says why."""


class RefusedError(WorkerFailedError):
    """The worker won't go on as things are, and waiting mends nothing; the message says what somebody has to do."""


class FailStop(Protocol):
    """Called with the reason in words, and the exception if there is one; nothing may be acked after it."""

    def __call__(self, reason: str, error: BaseException | None = None) -> None:
        """Stop the worker."""
        ...


def end_process(reason: str, error: BaseException | None = None, *, code: int = EXIT_FAILED) -> NoReturn:
    """Log one line and end the process at once: no clean-up may commit what was not done."""
    if isinstance(error, RefusedError):
        logger.critical("worker stops: %s", error)
        logging.shutdown()
        os._exit(EXIT_REFUSED if code == EXIT_FAILED else code)
    logger.critical("worker stops: %s%s", reason, f" ({error!r})" if error else "", exc_info=error)
    logging.shutdown()
    os._exit(code)
