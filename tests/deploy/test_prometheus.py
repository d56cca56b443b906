"""Prometheus for real: it scrapes a real gateway, evaluates the alerts, and answers what the dashboard asks."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import fairlead
from tests.deploy.test_alerts import ALERTS, panels, rules
from tests.e2e.processes import PATIENCE_S, Exchange, Gateway, eventually


class Prometheus:
    def __init__(self, address: str) -> None:
        self._address = address
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, path: str, **parameters: str) -> Any:
        """None while it does not answer."""
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with self._opener.open(url, timeout=PATIENCE_S) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:  # It starts.
                return None
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        except urllib.error.URLError:
            return None

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        data = self.ask("query", query=expression)
        return [(each["metric"], float(each["value"][1])) for each in data["result"]] if data else []


@pytest.fixture
def prometheus(scratch: Path, gateway: Gateway) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed: run `make setup`")
    admin = dict(word.split("=", 1) for word in gateway.ready_line.split()[2:])["admin"]
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        address = f"127.0.0.1:{chosen.getsockname()[1]}"
    config = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [{"job_name": "fairlead", "static_configs": [{"targets": [admin]}]}],
    }
    file = scratch / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    arguments = [f"--config.file={file}", f"--storage.tsdb.path={scratch}/tsdb", f"--web.listen-address={address}"]
    with (scratch / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", program, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield Prometheus(address)
        assert process.poll() is None, (scratch / "prometheus.log").read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


@pytest.fixture
def gateway(scratch: Path) -> Iterator[Gateway]:
    gateway = Gateway(scratch, {"admin": {"address": "127.0.0.1:0"}})
    gateway.start()
    yield gateway
    gateway.stop()


async def test_alerts_and_dashboard(prometheus: Prometheus, gateway: Gateway, exchange: Exchange) -> None:
    """With a session, a lost transport and requests all panels show something, and no alert is in error."""
    url = f"{exchange.ws}/numbered?rate=200"
    heartbeat = fairlead.Heartbeat(interval=0.1)
    async with (
        fairlead.connect(gateway.address, connect_timeout=PATIENCE_S) as client,
        client.websocket(url, name="md", heartbeat=heartbeat) as session,
    ):

        async def read() -> None:
            async for _ in session:
                pass

        reading = asyncio.create_task(read())
        await client.http.get(f"{exchange.http}/status/200")
        await exchange.fault("drop")
        recovered = "sum(fairlead_time_to_recover_seconds_count) > 0 and sum(fairlead_sessions{state='OPEN'}) == 1"
        await eventually(lambda: prometheus.query(recovered), "Prometheus has seen the recovery")
        # Twice, for a rate.
        await eventually(lambda: prometheus.query("rate(fairlead_frames_total[2s]) > 0"), "there are rates")

        without = []
        for panel in panels():
            for target in panel["targets"]:
                # As long as the test, so that what has happened once is in it.
                expression = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
                if not prometheus.query(expression):
                    without.append(panel["title"])
        # No listener of this gateway has a certificate.
        assert without == ["Certificate ends in"]

        def evaluated() -> list[dict[str, Any]] | None:
            groups = prometheus.ask("rules")["groups"]
            found = [rule for group in groups for rule in group["rules"]]
            return found if all(rule["health"] != "unknown" for rule in found) else None

        found = await eventually(evaluated, "all rules are evaluated")
        assert {rule["name"] for rule in found} == {rule["alert"] for rule in rules()}
        assert [(rule["name"], rule.get("lastError")) for rule in found if rule["health"] != "ok"] == []
        assert not [rule["name"] for rule in found if rule["state"] == "firing"]
        # One that compares two metrics: their labels agree, and with another bound it would fire.
        [text] = [rule["expr"] for rule in rules() if rule["alert"] == "FairleadOpenFiles"]
        assert prometheus.query(text.replace("> 0.8", "> 0"))
        reading.cancel()
    gateway.kill()

    def down() -> bool:
        return any(each["labels"]["alertname"] == "FairleadDown" for each in prometheus.ask("alerts")["alerts"])

    await eventually(down, "FairleadDown is pending")
