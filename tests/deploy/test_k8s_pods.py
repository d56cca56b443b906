"""The gateway's container of each overlay, as near as one machine comes to it: image, user, mounts, configuration.

Ports are any free ones, and the exchange is on loopback. What a kubelet does, its probes and the end, is done by hand.
"""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

import fairlead
from tests.deploy.conftest import AS_ROOT, USER, Box
from tests.deploy.hardening import gateway_pod
from tests.deploy.manifests import Manifest, config_map, configuration, container, manifests
from tests.deploy.test_contained import Running, running, volume
from tests.e2e.callers import Papers, credentials
from tests.e2e.certificates import issue, pem_of
from tests.e2e.processes import PATIENCE_S, ROOT, Exchange, eventually


def give(path: Path) -> Path:
    """To the pod's group, read-only, as the kubelet does with fsGroup and defaultMode."""
    for each in [path, *path.rglob("*")]:
        if AS_ROOT:
            os.chown(each, 0, USER)
        each.chmod(0o750 if each.is_dir() else 0o440)
    return path


class Pod:
    """Directories in place of the volumes of the gateway's container."""

    def __init__(self, overlay: str, scratch: Path, config: dict[str, Any], secret: dict[str, bytes]) -> None:
        every = manifests(overlay)
        pod = gateway_pod(every)
        self.gate: Manifest = container(pod, "fairlead")
        self.volumes: dict[str, Path] = {}
        self.options: list[str] = []
        for mount in self.gate["volumeMounts"]:
            writable = not mount.get("readOnly")
            where = self.volumes[mount["mountPath"]] = volume(scratch, mount["name"], 0o770)
            self.options += ["--mount", f"{where}:{mount['mountPath']}{':rw' if writable else ''}"]
        etc = self.volumes["/etc/fairlead"]
        [files] = [each["projected"]["sources"] for each in pod["volumes"] if each["name"] == etc.name]
        for source in files:
            if "configMap" in source:
                assert config_map(every, "fairlead.yaml")
                (etc / "fairlead.yaml").write_text(yaml.safe_dump(config))
            for item in source.get("secret", {}).get("items", []):
                target = etc / item["path"]
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(secret[item["key"]])
        give(etc)

    @property
    def grace_s(self) -> float:
        return float(self.gate["lifecycle"]["preStop"]["sleep"]["seconds"])


def with_free_ports(overlay: str) -> dict[str, Any]:
    config = configuration(manifests(overlay))
    for listener in config["listeners"]:
        if "tcp" in listener:
            listener["tcp"]["port"] = 0
    config["admin"]["address"] = config["admin"]["address"].rsplit(":", 1)[0] + ":0"
    return config


def addresses(gateway: Running) -> dict[str, list[str]]:
    """What the ready line tells, as reached by loopback."""
    found: dict[str, list[str]] = {}
    for word in gateway.ready_line.split()[2:]:
        name, value = word.split("=", 1)
        found.setdefault(name, []).append(value.replace("0.0.0.0", "127.0.0.1"))
    return found


def asked(admin: str, path: str) -> tuple[int, str]:
    """Status and text; 0 if nobody answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{admin}{path}", timeout=PATIENCE_S) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


def probe(pod: Pod, name: str, admin: str) -> int:
    """Asks what the kubelet asks."""
    return asked(admin, pod.gate[name]["httpGet"]["path"])[0]


PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


@pytest.mark.parametrize("overlay", ["production", "shielded"])
async def test_with_certificates(overlay: str, box: Box, exchange: Exchange, scratch: Path) -> None:
    """An adapter with a certificate is served; probes tell what there is to tell; the end comes within the grace."""
    config = with_free_ports(overlay)
    names = config["callers"][0]["certificates"]
    # A second rule, for the exchange on this machine; journals stay as they are.
    rule = {"name": "here", "schemes": ["ws"], "hosts": ["127.0.0.1"], "cidrs": ["127.0.0.0/8"]}
    config["egress"]["rules"].append(rule)
    papers = Papers()
    # As cert-manager has it: one authority, of the gateway and of its callers.
    secret = {"tls.crt": papers.server.certificate, "tls.key": papers.server.key, "ca.crt": pem_of(papers.gateways)}
    pod = Pod(overlay, scratch, config, secret)
    assert pod.gate["args"] == ["--config", "/etc/fairlead/fairlead.yaml"]
    with running(box, scratch, pod.options) as gateway:
        at = addresses(gateway)
        await eventually(lambda: [probe(pod, name, at["admin"][0]) for name in PROBES] == [200] * 3, "it is ready")
        assert "\nfairlead_certificate_expiry_seconds " in asked(at["admin"][0], "/metrics")[1]
        assert gateway.mounts()["/"] == "ro"
        assert gateway.mounts()["/etc/fairlead"] == "ro"
        mine = issue(papers.gateways, *names)
        async with (
            fairlead.connect(
                at["grpc"][0], credentials=credentials(papers, mine), connect_timeout=PATIENCE_S
            ) as client,
            client.websocket(f"{exchange.ws}/numbered?rate=100", name="md") as session,
        ):
            async for _ in session:
                break
            assert list(pod.volumes["/var/lib/fairlead"].rglob("*")), "journals are on the volume"
            os.kill(gateway.pid, signal.SIGTERM)
            # An adapter that reads is no reason to wait.
            await eventually(lambda: gateway.ended is not None, "the gateway ends")
        assert gateway.ended == 0, gateway.log
        assert probe(pod, "readinessProbe", at["admin"][0]) == 0


async def test_not_ready_while_it_drains(box: Box, scratch: Path, exchange: Exchange) -> None:
    """While an adapter that does not read holds up the drain, it lives and is not ready."""
    config = with_free_ports("development")
    config["egress"]["rules"][0] |= {"hosts": ["127.0.0.1"], "cidrs": ["127.0.0.0/8"]}
    config["shutdown_timeout"] = "20s"
    pod = Pod("development", scratch, config, {})
    with running(box, scratch, pod.options) as gateway:
        at = addresses(gateway)
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", STUCK, at["grpc"][0], f"{exchange.ws}/synthetic?rate=0", stdout=subprocess.PIPE
        )
        try:
            assert client.stdout is not None
            await asyncio.wait_for(client.stdout.readline(), PATIENCE_S)
            client.send_signal(signal.SIGSTOP)
            os.kill(gateway.pid, signal.SIGTERM)
            await eventually(lambda: probe(pod, "readinessProbe", at["admin"][0]) == 503, "it is not ready")
            assert probe(pod, "livenessProbe", at["admin"][0]) == 200
            assert gateway.ended is None
        finally:
            client.kill()
            await client.wait()
        await eventually(lambda: gateway.ended is not None, "the gateway ends")
        assert gateway.ended == 0, gateway.log


# Attaches, says so, and would read.
STUCK = """
import asyncio, sys, fairlead

async def main():
    async with fairlead.connect(sys.argv[1]) as gateway, gateway.websocket(sys.argv[2], name="stuck") as session:
        async for _ in session:
            print("reads", flush=True)

asyncio.run(main())
"""


async def test_the_demo_of_development(box: Box, exchange: Exchange, scratch: Path) -> None:
    """The adapter's own arguments: numbers arrive, the connection is dropped, and numbers arrive again."""
    config = with_free_ports("development")
    config["egress"]["rules"][0]["cidrs"].append("127.0.0.0/8")
    pod = Pod("development", scratch, config, {})
    hosts = scratch / "hosts"
    hosts.write_text("127.0.0.1 localhost exchange\n")
    with running(box, scratch, [*pod.options, "--mount", f"{hosts}:/etc/hosts"]) as gateway:
        await eventually(lambda: probe(pod, "readinessProbe", addresses(gateway)["admin"][0]) == 200, "it is ready")
        socket = pod.volumes["/run/fairlead"] / "fairlead.sock"
        assert socket.stat().st_mode & 0o777 == 0o660
        adapter = container(gateway_pod(manifests("development")), "adapter")
        program, address, url, *rest = adapter["args"]
        assert address == "unix:///run/fairlead/fairlead.sock"
        there, here = (
            "ws://exchange:9101/numbered?rate=1&",
            f"ws://exchange:{exchange.ws.rsplit(':', 1)[1]}/numbered?rate=100&",
        )
        assert url.startswith(there)
        watch = ROOT / "clients/python/examples" / Path(program).name
        client = await asyncio.create_subprocess_exec(
            sys.executable, watch, f"unix://{socket}", url.replace(there, here), *rest, stdout=subprocess.PIPE
        )
        seen = ""
        try:
            assert client.stdout is not None
            while "generation=2" not in seen or not seen.rsplit("generation=2", 1)[1].count("Frame("):
                line = await asyncio.wait_for(client.stdout.readline(), PATIENCE_S)
                assert line, f"the adapter has ended\n{seen}\n{gateway.log}"
                seen += line.decode()
        finally:
            client.kill()
            await client.wait()
        assert "RECONNECTING" in seen
        assert gateway.terminate() == 0, gateway.log


def test_a_pod_without_its_secret_does_not_start(box: Box, scratch: Path) -> None:
    """And says which file is missing. (A kubelet would not even start it.)"""
    leaf = trustme.CA().issue_cert("localhost")
    secret = {"tls.crt": leaf.cert_chain_pems[0].bytes(), "tls.key": leaf.private_key_pem.bytes(), "ca.crt": b""}
    pod = Pod("production", scratch, with_free_ports("production"), secret)
    done = box.run("--config", "/etc/fairlead/fairlead.yaml", options=pod.options)
    assert done.returncode != 0
    assert "/etc/fairlead/tls/ca.crt" in done.stderr
