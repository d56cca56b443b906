"""When each alert of deploy/monitoring/alerts.yaml fires, and when it does not: series for `promtool test rules`."""

from dataclasses import dataclass, field

GATEWAY = {"job": "fairlead", "instance": "fairlead-0"}
DAY = 86400


def series(name: str, values: str, **labels: str) -> tuple[str, str]:
    """One value a minute; promtool's own words for them: "1+2x3" is 1 3 5 7."""
    inside = ",".join(f'{label}="{value}"' for label, value in (GATEWAY | labels).items())
    return f"{name}{{{inside}}}", values


def spans(name: str, fast: str, slow: str, bounds: tuple[str, str], **labels: str) -> list[tuple[str, str]]:
    """A histogram with two bounds: how many are within the lower one, and within the upper one."""
    buckets = zip((*bounds, "+Inf"), (fast, slow, slow), strict=True)
    return [series(f"{name}_bucket", values, le=bound, **labels) for bound, values in buckets]


@dataclass(frozen=True)
class Case:
    alert: str
    what: str
    given: list[tuple[str, str]]
    minutes: int
    # What the alert says, with its labels beside `severity`; none: it does not fire.
    says: str = ""
    labels: dict[str, str] = field(default_factory=lambda: {"instance": "fairlead-0"})


CASES = [
    Case("FairleadDown", "up", [series("up", "1x10")], 10),
    Case("FairleadDown", "one scrape missed", [series("up", "1 1 0 1 1")], 4),
    Case("FairleadDown", "another job", [series("up", "0x10", job="node")], 10),
    Case("FairleadDown", "down", [series("up", "1 0x10")], 5, "fairlead-0 has not answered for a minute", GATEWAY),
    Case("FairleadAbsent", "down, but known", [series("up", "0x10")], 10),
    Case(
        "FairleadAbsent",
        "gone",
        [series("up", "1 1 stale")],
        12,
        "Prometheus knows of no gateway",
        {"job": "fairlead"},
    ),
    Case("FairleadRestarts", "one", [series("fairlead_start_time_seconds", "100x5 400x20")], 20),
    Case(
        "FairleadRestarts",
        "three",
        [series("fairlead_start_time_seconds", "100x5 400x5 700x5 1000x5")],
        22,
        "fairlead-0 has begun 3 times anew in half an hour",
        GATEWAY,
    ),
    Case(
        "FairleadLoopLag",
        "fast",
        spans("fairlead_loop_lag_seconds", "0+100x20", "0+100x20", ("0.01", "0.1")),
        20,
    ),
    Case(
        "FairleadLoopLag",
        "one in twenty is slow",
        spans("fairlead_loop_lag_seconds", "0+95x20", "0+100x20", ("0.01", "0.1")),
        20,
        "work waits for 82ms on the loop of fairlead-0",
    ),
    Case(
        "FairleadLoopLag",
        "for a minute only",
        spans("fairlead_loop_lag_seconds", "0+100x10 1095+100x10", "0+100x10 1100+100x10", ("0.01", "0.1")),
        12,
    ),
    Case(
        "FairleadAddedLatency",
        "fast",
        spans("fairlead_added_latency_seconds", "0+100x30", "0+100x30", ("0.005", "0.05")),
        30,
    ),
    Case(
        "FairleadAddedLatency",
        "one in ten is slow",
        spans("fairlead_added_latency_seconds", "0+90x30", "0+100x30", ("0.005", "0.05")),
        30,
        "frames stay for 45.5ms in fairlead-0",
    ),
    Case(
        "FairleadOpenFiles",
        "few",
        [series("fairlead_open_files", "700x20"), series("fairlead_open_files_limit", "1000x20")],
        20,
    ),
    Case(
        "FairleadOpenFiles",
        "many",
        [series("fairlead_open_files", "900x20"), series("fairlead_open_files_limit", "1000x20")],
        20,
        "fairlead-0 has 90% of its descriptors open",
        GATEWAY,
    ),
    Case("FairleadCertificateEnds", "in 8 days", [series("fairlead_certificate_expiry_seconds", f"{8 * DAY}x10")], 10),
    Case(
        "FairleadCertificateEnds",
        "in 6 days",
        [series("fairlead_certificate_expiry_seconds", f"{6 * DAY}x10")],
        0,
        "a certificate of fairlead-0 ends in 6d 0h 0m 0s",
        GATEWAY,
    ),
    Case(
        "FairleadCertificateEndsToday", "in 2 days", [series("fairlead_certificate_expiry_seconds", f"{2 * DAY}x9")], 9
    ),
    Case(
        "FairleadCertificateEndsToday",
        "in an hour",
        [series("fairlead_certificate_expiry_seconds", "3600x10")],
        0,
        "a certificate of fairlead-0 ends in 1h 0m 0s",
        GATEWAY,
    ),
    Case(
        "FairleadSessionsDown",
        "open, closed and waiting",
        [series("fairlead_sessions", "5x10", state=state) for state in ("OPEN", "CLOSED", "WAITING")],
        10,
    ),
    Case(
        "FairleadSessionsDown",
        "mended within a minute",
        [series("fairlead_sessions", "0 0 1 0 0 1 0 0", state="RECONNECTING")],
        7,
    ),
    Case(
        "FairleadSessionsDown",
        "now dialling, now waiting to dial",
        [
            series("fairlead_sessions", "0 0 2 1 2 1 2 1 2", state="RECONNECTING"),
            series("fairlead_sessions", "0 0 0 1 0 1 0 1 0", state="CONNECTING"),
        ],
        8,
        "2 sessions of fairlead-0 have no connection",
    ),
    Case("FairleadSessionsWaiting", "for a moment", [series("fairlead_sessions", "0 1 1 0x10", state="WAITING")], 10),
    Case(
        "FairleadSessionsWaiting",
        "for long",
        [series("fairlead_sessions", "3x10", state="WAITING")],
        10,
        "3 sessions of fairlead-0 wait for their owner",
        GATEWAY | {"state": "WAITING"},
    ),
    Case(
        "FairleadReconnectStorm", "some", [series("fairlead_reconnects_total", "0+1x20", reason="CONNECTION_LOST")], 20
    ),
    Case(
        "FairleadReconnectStorm",
        "many, for two reasons",
        [
            series("fairlead_reconnects_total", "0+2x20", reason="CONNECTION_LOST"),
            series("fairlead_reconnects_total", "0+4x20", reason="CONNECT_FAILED"),
        ],
        20,
        "fairlead-0 has replaced 60 transports in ten minutes",
    ),
    Case(
        "FairleadSlowRecovery",
        "fast",
        spans("fairlead_time_to_recover_seconds", "0+1x30", "0+1x30", ("5", "20")),
        30,
    ),
    Case(
        "FairleadSlowRecovery",
        "half are slow",
        spans("fairlead_time_to_recover_seconds", "0+1x30", "0+2x30", ("5", "20")),
        30,
        "fairlead-0 takes 17s to have a session OPEN again",
    ),
    Case("FairleadGaps", "none", [series("fairlead_gaps_total", "7x10")], 10),
    Case(
        "FairleadGaps",
        "one",
        [series("fairlead_gaps_total", "0x5 1x5")],
        7,
        "subscribers of fairlead-0 have missed entries",
        GATEWAY,
    ),
    Case("FairleadSubscribersDetached", "none", [series("fairlead_subscribers_detached_total", "7x10")], 10),
    Case(
        "FairleadSubscribersDetached",
        "four in five minutes",
        [series("fairlead_subscribers_detached_total", "0+1x10")],
        10,
        "fairlead-0 has detached 5 subscribers that fell behind",
        GATEWAY,
    ),
    Case("FairleadAdaptersRefused", "none", [series("fairlead_accept_refused_total", "0x10", reason="limit")], 10),
    Case(
        "FairleadAdaptersRefused",
        "some",
        [series("fairlead_accept_refused_total", "0x5 1x5", reason="limit")],
        7,
        "fairlead-0 refuses connections of adapters: limit",
        {"instance": "fairlead-0", "reason": "limit"},
    ),
    Case(
        "FairleadRpcsFail",
        "callers' own mistakes",
        [
            series("fairlead_rpcs_total", "0+50x30", rpc="Send", code="OK"),
            series("fairlead_rpcs_total", "0+50x30", rpc="Send", code="INVALID_ARGUMENT"),
        ],
        30,
    ),
    Case(
        "FairleadRpcsFail",
        "one in ten, of one RPC",
        [
            series("fairlead_rpcs_total", "0+90x30", rpc="Send", code="OK"),
            series("fairlead_rpcs_total", "0+10x30", rpc="Send", code="RESOURCE_EXHAUSTED"),
            series("fairlead_rpcs_total", "0+90x30", rpc="GetSession", code="OK"),
        ],
        30,
        "10% of Send fail on fairlead-0",
        {"instance": "fairlead-0", "rpc": "Send"},
    ),
    Case(
        "FairleadHttpFails",
        "few",
        [
            series("fairlead_http_requests_total", "0+97x20", **{"class": "2xx"}),
            series("fairlead_http_requests_total", "0+3x20", **{"class": "failed"}),
        ],
        20,
    ),
    Case(
        "FairleadHttpFails",
        "no requests at all",
        [series("fairlead_http_requests_total", "0x20", **{"class": "failed"})],
        20,
    ),
    Case(
        "FairleadHttpFails",
        "a quarter",
        [
            series("fairlead_http_requests_total", "0+75x20", **{"class": "2xx"}),
            series("fairlead_http_requests_total", "0+25x20", **{"class": "failed"}),
        ],
        20,
        "25% of HTTP requests of fairlead-0 have no answer",
    ),
    Case(
        "FairleadHttpServerErrors",
        "refusals are not the exchange's trouble",
        [
            series("fairlead_http_requests_total", "0+50x20", **{"class": "2xx"}),
            series("fairlead_http_requests_total", "0+50x20", **{"class": "4xx"}),
        ],
        20,
    ),
    Case(
        "FairleadHttpServerErrors",
        "half",
        [
            series("fairlead_http_requests_total", "0+50x20", **{"class": "2xx"}),
            series("fairlead_http_requests_total", "0+50x20", **{"class": "5xx"}),
        ],
        20,
        "exchanges answer 50% of requests of fairlead-0 with 5xx",
    ),
    Case(
        "FairleadHttpWaits",
        "another phase is slow",
        spans("fairlead_http_seconds", "0x20", "0+10x20", ("0.1", "1"), phase="first_byte")
        + spans("fairlead_http_seconds", "0+10x20", "0+10x20", ("0.1", "1"), phase="pool_wait"),
        20,
    ),
    Case(
        "FairleadHttpWaits",
        "a tenth waits",
        spans("fairlead_http_seconds", "0+90x20", "0+100x20", ("0.1", "1"), phase="pool_wait"),
        20,
        "HTTP requests wait for 550ms for a connection of fairlead-0",
    ),
]
