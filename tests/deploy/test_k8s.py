"""deploy/k8s: every overlay renders, is what Kubernetes' schemas want, and is hardened. No cluster runs any of it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import pytest
import trustme
import yaml

from tests.deploy.hardening import EVERYWHERE, Rule, exchanges_are_reached, ranges_of_gateway
from tests.deploy.manifests import (
    K8S,
    OVERLAYS,
    Manifest,
    config_map,
    configuration,
    container,
    gateway,
    manifests,
    one,
    rendered_with,
)
from tests.deploy.wrong_manifests import WRONGS, Spoil
from tests.e2e.processes import BUILD, ROOT, run

# The oldest that does `sleep` before the end without being told to, and the newest that the schemas are there for.
VERSIONS = ("1.30", kubernetes_validate.latest_version())


# ---- Kubernetes' schemas. ----


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_schemas(overlay: str, version: str) -> None:
    """Strict: a field that Kubernetes does not know is an error."""
    every = manifests(overlay)
    assert len(every) >= 7
    for each in every:
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda pod: pod.update(terminationGracePeriodSecond=30),
        lambda pod: pod["containers"][0]["lifecycle"]["preStop"]["sleep"].update(seconds="5s"),
        lambda pod: pod["containers"][0]["securityContext"].update(capabilities=["ALL"]),
        lambda pod: pod["volumes"][0]["projected"].update(sources={}),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_schemas_notice(spoil: Callable[[Manifest], None], version: str) -> None:
    changed = gateway(manifests("production"))
    spoil(changed["spec"]["template"]["spec"])
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(changed, version, strict=True)


def test_no_older_kubernetes_will_do() -> None:
    """What the pages say of `sleep`: 1.28 does not know it. (1.29 does, but only if it is told to.)"""
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(gateway(manifests("production")), "1.28", strict=True)


# ---- Hardening. ----


@pytest.mark.parametrize("rule", EVERYWHERE, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_hardened(overlay: str, rule: Rule) -> None:
    assert list(rule(manifests(overlay))) == []


@pytest.mark.parametrize("overlay", ["production", "shielded"])
def test_exchanges_are_reached(overlay: str) -> None:
    assert list(exchanges_are_reached(manifests(overlay))) == []


def test_the_ranges_are_those_of_the_gateway() -> None:
    policy = one(manifests("production"), "NetworkPolicy", "fairlead")
    blocks = [peer["ipBlock"] for rule in policy["spec"]["egress"] for peer in rule["to"] if "ipBlock" in peer]
    assert sorted(each for block in blocks for each in block["except"]) == sorted(ranges_of_gateway())


@pytest.mark.parametrize(("rule", "says", "spoil"), WRONGS, ids=[f"{rule.__name__}-{says}" for rule, says, _ in WRONGS])
def test_a_rule_notices(rule: Rule, says: str, spoil: Spoil) -> None:
    every = manifests("shielded")
    spoil(every)
    complaints = list(rule(every))
    assert any(says in each for each in complaints), complaints


def test_every_rule_has_a_wrong() -> None:
    assert {rule for rule, _, _ in WRONGS} == {*EVERYWHERE, exchanges_are_reached}


# ---- What the overlays hold. ----


def test_the_shield_adds_to_production() -> None:
    """The two configurations differ in the shield's listener and its callers, and in nothing else."""
    production, shielded = configuration(manifests("production")), configuration(manifests("shielded"))
    [added] = [each for each in shielded["listeners"] if each not in production["listeners"]]
    assert (added["tcp"]["host"], "identity" in added, "client_ca_file" in added["tcp"]["tls"]) == (
        "127.0.0.1",
        False,
        False,
    )
    shielded["listeners"].remove(added)
    its = {each["identity"] for each in shielded["callers"] if "token_sha256" in each}
    for field in {"callers", "policies"} & set(shielded):
        shielded[field] = [each for each in shielded[field] if each["identity"] not in its]
    assert shielded == production
    assert f"server gateway 127.0.0.1:{added['tcp']['port']} " in config_map(manifests("shielded"), "haproxy.cfg")


def test_monitoring() -> None:
    """The ServiceMonitor finds the Service's admin port, and Prometheus is let in to it. No schema of it is at hand."""
    every = list(yaml.safe_load_all(rendered_with("production", "monitoring")))
    monitor, service = one(every, "ServiceMonitor"), one(every, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["metadata"]["namespace"] == service["metadata"]["namespace"]
    [endpoint] = monitor["spec"]["endpoints"]
    assert endpoint["path"] == "/metrics"
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    policy = one(every, "NetworkPolicy")
    assert any({"protocol": "TCP", "port": "admin"} in rule["ports"] for rule in policy["spec"]["ingress"])
    for rule in EVERYWHERE:
        assert list(rule([each for each in every if each is not monitor])) == []


def test_the_exchange_is_reached_in_development() -> None:
    every = manifests("development")
    arguments = container(gateway(every)["spec"]["template"]["spec"], "adapter")["args"]
    config = configuration(every)
    assert arguments[1] == f"unix://{config['listeners'][0]['unix']['path']}"
    host, port = arguments[2].removeprefix("ws://").split("/")[0].split(":")
    service = one(every, "Service", "exchange")
    assert host == service["metadata"]["name"]
    assert host in config["egress"]["rules"][0]["hosts"]
    [named] = [each for each in service["spec"]["ports"] if each["port"] == int(port)]
    exchange = one(every, "Deployment", "exchange")["spec"]["template"]
    assert service["spec"]["selector"].items() <= exchange["metadata"]["labels"].items()
    [inner] = [each for each in exchange["spec"]["containers"][0]["ports"] if each["name"] == named["targetPort"]]
    # Out of the gateway's pod, and into the exchange's.
    out, into = one(every, "NetworkPolicy", "fairlead")["spec"], one(every, "NetworkPolicy", "exchange")["spec"]
    let = {"protocol": "TCP", "port": inner["name"]}
    assert let in out["egress"][1]["ports"]
    assert let in into["ingress"][0]["ports"]
    command = exchange["spec"]["containers"][0]["args"]
    assert command[command.index("--ws-port") + 1] == str(inner["containerPort"])


# ---- The gateway's own judgement. ----


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Secret fairlead-tls would hold."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    leaf = authority.issue_cert("fairlead-0.fairlead")
    leaf.private_key_pem.write_to_path(str(directory / "tls.key"))
    leaf.cert_chain_pems[0].write_to_path(str(directory / "tls.crt"))
    authority.cert_pem.write_to_path(str(directory / "ca.crt"))
    return directory


def check_config(text: str, certificates: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    if not (BUILD / "fairlead").exists():
        pytest.skip(f"{BUILD}/fairlead is not built: run `make build`")
    file = tmp_path / "fairlead.yaml"
    file.write_text(text.replace("/etc/fairlead/tls", str(certificates)))
    return run("fairlead", "--check-config", file)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_check_config(overlay: str, certificates: Path, tmp_path: Path) -> None:
    """`fairlead --check-config` on each rendered ConfigMap, with certificates in place of the Secret's."""
    text = config_map(manifests(overlay), "fairlead.yaml")
    checked = check_config(text, certificates, tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_check_config_notices(certificates: Path, tmp_path: Path) -> None:
    text = config_map(manifests("production"), "fairlead.yaml")
    checked = check_config(text.replace("listeners:", "lissteners:"), certificates, tmp_path)
    assert checked.returncode == 2
    assert "lissteners" in checked.stderr


# ---- The demo's image, as text: the tests need no container tool. ----


def test_the_demo_copies_what_it_is_let_see() -> None:
    directory = ROOT / "deploy/demo"
    lines = (directory / "Dockerfile").read_text().splitlines()
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from=" not in line]
    ignored = (directory / "Dockerfile.dockerignore").read_text().splitlines()
    seen = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    for source in (name for names in copies for name in names):
        assert (ROOT / source).exists(), source
        assert any(Path(source).is_relative_to(each) for each in seen), source
    users = [line for line in lines if line.startswith("USER ")]
    assert users == ["USER 65532:65532"]
    every = manifests("development")
    assert container(gateway(every)["spec"]["template"]["spec"], "adapter")["args"][0] in " ".join(lines)
    for line in lines:
        if line.startswith(("RUN ", "ENTRYPOINT ")):
            json.loads(line.split(maxsplit=1)[1])


def test_nothing_else_is_there() -> None:
    """No overlay or component escapes these tests."""
    assert {each.name for each in (K8S / "overlays").iterdir()} == set(OVERLAYS)
    assert {each.name for each in (K8S / "components").iterdir()} == {"monitoring", "shield"}
