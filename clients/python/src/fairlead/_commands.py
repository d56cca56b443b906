"""Commands that wait for their results."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from fairlead.entries import CommandResult
from fairlead.errors import Failure, FairleadError, OutcomeUnknown, SendFailed
from fairlead.options import Step
from fairlead.v1.enums import Outcome, Phase, Reason


@dataclass(frozen=True, slots=True)
class SetupChange:
    """What a send does to the setup, if it was written or may have been."""

    store: Step | None
    forget: tuple[str, ...]

    def apply(self, steps: dict[str, Step]) -> None:
        """Change the steps: forget first, then store in place of a step of the same key, or as the last."""
        for key in self.forget:
            steps.pop(key, None)
        if self.store is not None:
            steps[self.store.key] = self.store


@dataclass(frozen=True, slots=True)
class _Waiting:
    result: asyncio.Future[CommandResult]
    change: SetupChange | None


class Commands:
    """The commands of one session that wait for their results, and the setup that they change.

    A command whose caller was cancelled stays until its result comes, because it may change the setup.
    """

    def __init__(self, setup: dict[str, Step]) -> None:
        self._setup = setup
        self._waiting: dict[int, _Waiting] = {}

    def add(self, command_id: int, change: SetupChange | None) -> asyncio.Future[CommandResult]:
        """Register a command; its future gets the result, or SendFailed or OutcomeUnknown."""
        result = asyncio.get_running_loop().create_future()
        self._waiting[command_id] = _Waiting(result, change)
        return result

    def withdraw(self, command_id: int) -> None:
        """Forget a command that was never handed to gRPC."""
        self._waiting.pop(command_id, None)

    def settle(self, result: CommandResult) -> None:
        """Give a result to the command that waits for it; other owners' results are nobody's here."""
        waiting = self._waiting.pop(result.id, None)
        if waiting is None:
            return
        if waiting.change is not None and result.outcome in {Outcome.WRITTEN, Outcome.UNKNOWN}:
            waiting.change.apply(self._setup)
        if waiting.result.done():
            return
        error = error_of_result(result)
        if error is None:
            waiting.result.set_result(result)
        else:
            waiting.result.set_exception(error)

    def lose(self, failure: Failure, withdraw: Callable[[int], bool]) -> None:
        """End all commands: those that `withdraw` takes back as not sent, the others as unknown."""
        lost, self._waiting = self._waiting, {}
        for command_id, waiting in lost.items():
            sent = not withdraw(command_id)
            if sent and waiting.change is not None:
                waiting.change.apply(self._setup)
            if not waiting.result.done():
                waiting.result.set_exception(
                    OutcomeUnknown(failure, command_id) if sent else SendFailed(not_sent(failure))
                )

    def give_up(self, failure: Failure) -> None:
        """End the waiting for all results as unknown; a result that comes still changes the setup."""
        for command_id, waiting in self._waiting.items():
            if not waiting.result.done():
                waiting.result.set_exception(OutcomeUnknown(failure, command_id))


def error_of_result(result: CommandResult) -> FairleadError | None:
    """Give the exception for a result; None if the command was carried out."""
    if result.outcome in {Outcome.WRITTEN, Outcome.DONE}:
        return None
    failure = result.failure or Failure(message=f"outcome {result.outcome.name} without a reason")
    if result.outcome == Outcome.NOT_SENT:
        return SendFailed(not_sent(failure))
    return OutcomeUnknown(failure, result.id)


def not_sent(failure: Failure) -> Failure:
    """Give the failure with phase NOT_SENT."""
    return Failure(failure.reason, Phase.NOT_SENT, failure.message, failure.retry_after, failure.quota_key)


def failed(reason: Reason, message: str) -> SendFailed:
    """Give the exception for a command that the client itself did not send."""
    return SendFailed(Failure(reason, Phase.NOT_SENT, message))
