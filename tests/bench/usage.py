"""What processes have used so far, from /proc."""

from contextlib import suppress
from pathlib import Path


def cpu_s(pid: int) -> float:
    """User and system time of all threads that the process has."""
    total_ns = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # The thread has ended since it was listed.
            total_ns += int((task / "schedstat").read_text().split()[0])
    return total_ns / 1e9


def resident_bytes(pid: int) -> int:
    """Memory that the process has touched and still has."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/{pid}/status has no VmRSS")
