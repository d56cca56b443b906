"""The demo's account can fail."""

import pytest

from tests.demo.account import Account, MismatchError


def told(*events: int | float) -> Account:
    """An account that was told these: an int is a number of the feed, a float a blind window."""
    account = Account()
    for sequence, event in enumerate(events, 1):
        account.entry(sequence)
        if isinstance(event, int):
            account.number(event)
        else:
            account.blind_window(event)
    account.close()
    return account


def test_everything_received() -> None:
    account = told(1, 2, 3)
    assert (account.received, account.missing, account.outages) == (3, 0, [])


def test_missing_numbers_lie_in_blind_windows() -> None:
    account = told(5, 6, 0.25, 10, 11, 0.5, 12)
    assert (account.received, account.missing) == (5, 3)
    assert [list(outage.missing) for outage in account.outages] == [[7, 8, 9], []]
    assert account.outages[0].blind_s == 0.25


@pytest.mark.parametrize(
    "events",
    [
        (1, 3),  # A hole that no window explains.
        (1, 2, 2),  # Twice.
        (1, 2, 0.1, 2),  # Twice, over a window.
        (2, 1),  # Out of order.
        (1, 0.1, 0.1, 5),  # Two windows for one hole: whose is it?
        (1, 0.1, 3, 5),  # A window does not explain the next hole.
        (),
    ],
)
def test_a_wrong_account_is_refused(events: tuple[int | float, ...]) -> None:
    with pytest.raises(MismatchError):
        told(*events)


def test_a_hole_in_the_sequences_is_refused() -> None:
    account = Account()
    account.entry(1)
    with pytest.raises(MismatchError):
        account.entry(3)
