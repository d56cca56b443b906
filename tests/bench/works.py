"""The works that the contenders are given, and how long each takes."""

from dataclasses import dataclass
from typing import Literal

from tests.bench.contender import BODY_BYTES, FRAME_BYTES

FEED = ("fairlead", "websockets", "aiohttp", "picows", "nautilus")
HTTP = ("fairlead", "aiohttp", "httpx", "nautilus", "empty_rpc")
IDLE = ("fairlead", "websockets")
# Those that a gateway is started for.
THROUGH_GATEWAY = ("fairlead", "empty_rpc")

# Of a saturated feed: what Fairlead's journal holds at 64 bytes more a frame.
SATURATED_FRAMES = 1_000_000


@dataclass(frozen=True)
class Work:
    kind: Literal["feed", "http", "idle"]
    tls: bool = False
    rate: int = 0
    """feed: frames a second and socket; 0: as fast as they are read."""
    burst: int = 1
    """feed: so many frames are due at once."""
    count: int = 1
    """feed and idle: sockets. http: requests in flight."""
    idle_s: float = 10

    @property
    def contenders(self) -> tuple[str, ...]:
        return {"feed": FEED, "http": HTTP, "idle": IDLE}[self.kind]

    @property
    def saturated(self) -> bool:
        return self.kind == "feed" and self.rate == 0

    @property
    def name(self) -> str:
        security = "TLS" if self.tls else "plain"
        match self.kind:
            case "http":
                return f"HTTP GET, {security}, {self.count:,} in flight"
            case "idle":
                return f"idle, {self.count:,} sockets, half of them TLS"
        sockets = f"{self.count} sockets of " if self.count > 1 else ""
        pace = f"{self.rate:,} frames/s" if self.rate else "saturated"
        return f"feed, {security}, {sockets}{pace}"

    @property
    def target(self) -> str:
        """Path and query at the exchange."""
        if self.kind == "http":
            return f"/big?size={BODY_BYTES}"
        if self.kind == "idle":
            return "/idle"
        if self.saturated:
            return f"/numbered?rate=0&count={SATURATED_FRAMES}&size={FRAME_BYTES}&feed="
        return f"/numbered?rate={self.rate}&burst={self.burst}&size={FRAME_BYTES}&stamp=1&feed="

    def of(self, contender: str) -> "Work":
        """The work as this contender is given it."""
        if self.kind == "idle" and contender != "fairlead" and self.count > 1000:
            return Work("idle", count=1000, idle_s=self.idle_s)
        return self


@dataclass(frozen=True)
class Length:
    """Of one measurement, in seconds."""

    warm_up_s: float
    measured_s: float


FULL = Length(warm_up_s=1.0, measured_s=3.0)
QUICK = Length(warm_up_s=1.0, measured_s=1.5)


def all_works(idle_sessions: int) -> list[Work]:
    works = []
    for tls in (False, True):
        works.append(Work("feed", tls))
        # 1,000 bursts a second: exchanges send what one event moves in one go.
        works += [Work("feed", tls, rate, burst=rate // 1000) for rate in (1_000, 10_000, 50_000)]
    works.append(Work("feed", rate=500, count=20))
    works += [Work("http", count=in_flight) for in_flight in (1, 64, 512)]
    works.append(Work("http", tls=True, count=64))
    works.append(Work("idle", count=idle_sessions))
    return works


def few_works() -> list[Work]:
    return [
        Work("feed"),
        Work("feed", rate=10_000, burst=10),
        Work("feed", tls=True, rate=50_000, burst=50),
        Work("http", count=64),
        Work("idle", count=1_000, idle_s=3),
    ]
