"""What grpc.aio makes of a cancellation."""

import asyncio


def cancellations() -> int:
    """Count the requests to cancel the running task; to be called before an RPC, for raise_if_cancelled."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()


def raise_if_cancelled(before: int = 0) -> None:
    """Raise CancelledError if the running task has been cancelled since; to be called when an RPC has failed.

    When a cancellation and the end of the RPC come at once, grpc.aio raises the RPC's error, and the cancellation would
    be lost: a task that tries again for ever could not be stopped.

    before: what cancellations() gave before the RPC. A task that was cancelled earlier, and tidies up, must learn what
      became of the RPC.
    """
    if cancellations() > before:
        raise asyncio.CancelledError
