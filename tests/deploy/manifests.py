"""The manifests that kustomize renders, and what is asked of them."""

import copy
import ipaddress
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.processes import ROOT

K8S = ROOT / "deploy/k8s"
OVERLAYS = ("development", "production", "shielded")
Manifest = dict[str, Any]


def kustomize() -> str:
    found = shutil.which("kustomize", path=ROOT / "build/tools") or shutil.which("kustomize")
    if found is None:
        pytest.fail("kustomize is not there: run `make setup`")
    return found


def render(directory: Path) -> str:
    run = subprocess.run([kustomize(), "build", directory], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stderr == "", "it warns"
    return run.stdout


@cache
def rendered(overlay: str) -> str:
    return render(K8S / "overlays" / overlay)


@cache
def parsed(overlay: str) -> list[Manifest]:
    return list(yaml.safe_load_all(rendered(overlay)))


def manifests(overlay: str) -> list[Manifest]:
    """New ones each time, so that they can be changed."""
    return copy.deepcopy(parsed(overlay))


@cache
def rendered_with(overlay: str, component: str) -> str:
    """An overlay with a component that it does not have by itself."""
    # kustomize takes relative paths only.
    with tempfile.TemporaryDirectory(dir=K8S, prefix=".") as name:
        lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization"]
        lines += [f"namespace: {namespace(manifests(overlay))}"]
        lines += ["resources:", f"  - ../overlays/{overlay}", "components:", f"  - ../components/{component}"]
        (Path(name) / "kustomization.yaml").write_text("\n".join(lines))
        return render(Path(name))


def of_kind(every: list[Manifest], kind: str) -> list[Manifest]:
    return [each for each in every if each["kind"] == kind]


def one(every: list[Manifest], kind: str, name: str = "") -> Manifest:
    found = [each for each in of_kind(every, kind) if not name or each["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def namespace(every: list[Manifest]) -> str:
    return str(one(every, "Namespace")["metadata"]["name"])


def gateway(every: list[Manifest]) -> Manifest:
    return one(every, "StatefulSet", "fairlead")


def pods(every: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Each pod's name and specification."""
    for each in every:
        if "template" in each.get("spec", {}):
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def containers(pod: Manifest) -> list[Manifest]:
    return [*pod["containers"], *pod.get("initContainers", [])]


def container(pod: Manifest, name: str) -> Manifest:
    return next(each for each in containers(pod) if each["name"] == name)


def config_map(every: list[Manifest], key: str) -> str:
    """The text that the one ConfigMap with this key has there."""
    found = [each["data"][key] for each in of_kind(every, "ConfigMap") if key in each["data"]]
    assert len(found) == 1, f"{len(found)} ConfigMaps with {key}"
    return str(found[0])


def configuration(every: list[Manifest]) -> dict[str, Any]:
    """The gateway's."""
    parsed: dict[str, Any] = yaml.safe_load(config_map(every, "fairlead.yaml"))
    return parsed


# ---- Quantities. ----

UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def size(text: str | int) -> int:
    """Bytes, as Kubernetes and as the configuration write them."""
    text = str(text)
    number = text.rstrip("KMGiB")
    return int(number) * UNITS[text[len(number) :]]


def seconds(text: str) -> float:
    number = text.rstrip("msuh")
    return int(number) * {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}[text[len(number) :]]


# ---- Network policies. ----


def selects(selector: Manifest, labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}, "only matchLabels are understood here"
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def lets_out(policy: Manifest, address: str, port: int) -> bool:
    """Whether a connection to an address that is no pod's may begin."""
    there = ipaddress.ip_address(address)
    for rule in policy["spec"].get("egress", []):
        blocks = [each["ipBlock"] for each in rule.get("to", []) if "ipBlock" in each]
        to = not rule.get("to") or any(
            there in ipaddress.ip_network(block["cidr"])
            and not any(there in ipaddress.ip_network(inner) for inner in block.get("except", []))
            for block in blocks
        )
        if to and (not rule.get("ports") or any(each.get("port") == port for each in rule["ports"])):
            return True
    return False
