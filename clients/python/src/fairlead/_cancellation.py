"""What grpc.aio makes of a cancellation."""

import asyncio


def raise_if_cancelled() -> None:
    """Raise CancelledError if the running task has been cancelled; to be called when an RPC has failed.

    When a cancellation and the end of the RPC come at once, grpc.aio raises the RPC's error, and the cancellation would
    be lost: a task that tries again for ever could not be stopped.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
