"""deploy/k8s: every overlay renders, is what Kubernetes' schemas want, and is hardened. No cluster runs any of it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import trustme
import yaml
from tests.deploy import hardening
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
    of_kind,
    one,
    rendered_with,
)
from tests.e2e.processes import BUILD, PATIENCE_S, ROOT

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


Spoil = Callable[[list[Manifest]], Any]


def in_pod(change: Callable[[Manifest], Any]) -> Spoil:
    return lambda every: change(gateway(every)["spec"]["template"]["spec"])


def in_container(change: Callable[[Manifest], Any], name: str = "fairlead") -> Spoil:
    return in_pod(lambda pod: change(container(pod, name)))


def in_configuration(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    def spoil(every: list[Manifest]) -> None:
        [holder] = [each for each in of_kind(every, "ConfigMap") if "fairlead.yaml" in each["data"]]
        config = configuration(every)
        change(config)
        holder["data"]["fairlead.yaml"] = yaml.safe_dump(config)

    return spoil


def in_policy(change: Callable[[Manifest], Any]) -> Spoil:
    return lambda every: change(one(every, "NetworkPolicy", "fairlead")["spec"])


def exceptions(policy: Manifest) -> list[str]:
    found: list[str] = policy["egress"][1]["to"][0]["ipBlock"]["except"]
    return found


# Each is one small wrong of "shielded", which has everything; the rule's own name, and what it must say.
WRONGS: list[tuple[Rule, str, Spoil]] = [
    (hardening.nobody_runs, "runAsNonRoot", in_pod(lambda pod: pod["securityContext"].pop("runAsNonRoot"))),
    (hardening.nobody_runs, "runAsUser", in_pod(lambda pod: pod["securityContext"].update(runAsUser=0))),
    (hardening.nobody_runs, "fsGroup", in_pod(lambda pod: pod["securityContext"].pop("fsGroup"))),
    (hardening.nobody_runs, "seccomp", in_pod(lambda pod: pod["securityContext"].pop("seccompProfile"))),
    (hardening.nobody_runs, "hostNetwork", in_pod(lambda pod: pod.update(hostNetwork=True))),
    (
        hardening.nobody_runs,
        "readOnlyRoot",
        in_container(lambda it: it["securityContext"].pop("readOnlyRootFilesystem")),
    ),
    (hardening.nobody_runs, "Escalation", in_container(lambda it: it.pop("securityContext"), "shield")),
    (
        hardening.nobody_runs,
        "capabilities",
        in_container(lambda it: it["securityContext"]["capabilities"].update(add=["NET_ADMIN"])),
    ),
    (hardening.nobody_runs, "privileged", in_container(lambda it: it["securityContext"].update(privileged=True))),
    (
        hardening.volumes_are_harmless,
        "hostPath",
        in_pod(lambda pod: pod["volumes"].append({"name": "node", "hostPath": {"path": "/"}})),
    ),
    (
        hardening.volumes_are_harmless,
        "no bound",
        in_pod(lambda pod: pod["volumes"].append({"name": "x", "emptyDir": {}})),
    ),
    (
        hardening.volumes_are_harmless,
        "defaultMode",
        in_pod(lambda pod: pod["volumes"][0]["projected"].pop("defaultMode")),
    ),
    (
        hardening.volumes_are_harmless,
        "not read-only",
        in_container(lambda it: [each.pop("readOnly", None) for each in it["volumeMounts"]]),
    ),
    (hardening.kubernetes_is_not_asked, "automount", in_pod(lambda pod: pod.pop("automountServiceAccountToken"))),
    (hardening.kubernetes_is_not_asked, "ServiceLinks", in_pod(lambda pod: pod.pop("enableServiceLinks"))),
    (
        hardening.kubernetes_is_not_asked,
        "automount",
        lambda every: one(every, "ServiceAccount").pop("automountServiceAccountToken"),
    ),
    (
        hardening.kubernetes_is_not_asked,
        "ClusterRole",
        lambda every: every.append({"kind": "ClusterRole", "metadata": {"name": "x"}}),
    ),
    (
        hardening.secrets_are_files,
        "among the manifests",
        lambda every: every.append({"kind": "Secret", "metadata": {"name": "x"}}),
    ),
    (
        hardening.secrets_are_files,
        "environment",
        in_container(lambda it: it.update(envFrom=[{"secretRef": {"name": "x"}}])),
    ),
    (
        hardening.secrets_are_files,
        "client_ca_file",
        in_configuration(lambda it: it["listeners"][0]["tcp"]["tls"].update(client_ca_file="/etc/fairlead/ca.crt")),
    ),
    (
        hardening.configuration_is_found,
        "nothing is mounted",
        in_container(lambda it: it.update(args=["--config", "x"])),
    ),
    (
        hardening.configuration_is_found,
        "nothing is mounted",
        in_pod(lambda pod: [v["projected"]["sources"][0]["configMap"].update(name="fairlead") for v in pod["volumes"]]),
    ),
    (
        hardening.configuration_is_found,
        "may change",
        lambda every: of_kind(every, "ConfigMap")[0]["metadata"].update(name="fairlead"),
    ),
    (
        hardening.resources_are_bounded,
        "requests no cpu",
        in_container(lambda it: it["resources"]["requests"].pop("cpu")),
    ),
    (hardening.resources_are_bounded, "limit of memory", in_container(lambda it: it.pop("resources"), "shield")),
    (
        hardening.memory_holds_the_limits,
        "may take",
        in_container(lambda it: it["resources"]["limits"].update(memory="2Gi")),
    ),
    (
        hardening.memory_holds_the_limits,
        "may take",
        in_configuration(lambda it: it["limits"].update(total_body_bytes="4GiB")),
    ),
    (
        hardening.memory_holds_the_limits,
        "outgrow",
        in_configuration(lambda it: it["journal_directory"].update(max_bytes="10GiB")),
    ),
    (
        hardening.memory_holds_the_limits,
        "on no volume",
        in_configuration(lambda it: it["journal_directory"].update(path="/var/lib/journals")),
    ),
    (
        hardening.probes_reach_the_admin_port,
        "the admin port is 9",
        in_configuration(lambda it: it["admin"].update(address="0.0.0.0:9")),
    ),
    (
        hardening.probes_reach_the_admin_port,
        "cannot reach",
        in_configuration(lambda it: it["admin"].update(address="127.0.0.1:7071")),
    ),
    (hardening.probes_reach_the_admin_port, "livenessProbe", in_container(lambda it: it.pop("livenessProbe"))),
    (
        hardening.probes_reach_the_admin_port,
        "readinessProbe",
        in_container(lambda it: it["readinessProbe"]["httpGet"].update(path="/healthz")),
    ),
    (
        hardening.probes_reach_the_admin_port,
        "port 7075 is not told",
        in_configuration(lambda it: it["listeners"][0]["tcp"].update(port=7075)),
    ),
    (hardening.drain_fits, "killed after 20", in_pod(lambda pod: pod.update(terminationGracePeriodSeconds=20))),
    (hardening.drain_fits, "killed after 45", in_configuration(lambda it: it.update(shutdown_timeout="1m"))),
    (hardening.drain_fits, "before DNS", in_container(lambda it: it.pop("lifecycle"))),
    (hardening.shards_are_named, "clusterIP", lambda every: one(every, "Service")["spec"].pop("clusterIP")),
    (
        hardening.shards_are_named,
        "has no pods",
        lambda every: one(every, "Service")["spec"].update(selector={"app": "fairlead"}),
    ),
    (hardening.shards_are_named, "leads nowhere", in_container(lambda it: it.pop("ports"), "shield")),
    (hardening.shards_are_named, "no budget", lambda every: every.remove(one(every, "PodDisruptionBudget"))),
    (
        hardening.shards_are_named,
        "no budget",
        lambda every: one(every, "PodDisruptionBudget")["spec"].update(maxUnavailable="50%"),
    ),
    (hardening.shards_are_named, "spread over", in_pod(lambda pod: pod["topologySpreadConstraints"].pop())),
    (
        hardening.shards_are_named,
        "podManagement",
        lambda every: gateway(every)["spec"].update(podManagementPolicy="OrderedReady"),
    ),
    (hardening.network_is_fenced, "0 policies", lambda every: every.remove(one(every, "NetworkPolicy"))),
    (hardening.network_is_fenced, "one direction", in_policy(lambda spec: spec["policyTypes"].remove("Egress"))),
    (hardening.network_is_fenced, "anybody is let in", in_policy(lambda spec: spec["ingress"][0].pop("from"))),
    (
        hardening.network_is_fenced,
        "anybody is let in by",
        in_policy(lambda spec: spec["ingress"][1]["from"].append({"namespaceSelector": {}})),
    ),
    (hardening.network_is_fenced, "169.254.169.254", in_policy(lambda spec: exceptions(spec).remove("169.254.0.0/16"))),
    (hardening.network_is_fenced, "10.255.255.255", in_policy(lambda spec: exceptions(spec).remove("10.0.0.0/8"))),
    (
        hardening.network_is_fenced,
        "fd00:ec2::254",
        in_policy(lambda spec: spec["egress"][1]["to"][1]["ipBlock"].update(cidr="::/0")),
    ),
    (hardening.network_is_fenced, "10.0.0.0 ", in_policy(lambda spec: spec["egress"].append({}))),
    (hardening.network_is_fenced, "DNS is not", in_policy(lambda spec: spec["egress"][0].pop("to"))),
    (exchanges_are_reached, "1.1.1.1 is not", in_policy(lambda spec: spec["egress"].pop())),
    (exchanges_are_reached, "in plain", in_policy(lambda spec: spec["egress"][1].pop("ports"))),
    (
        hardening.everything_is_in_its_namespace,
        "not restricted",
        lambda every: one(every, "Namespace")["metadata"].pop("labels"),
    ),
    (
        hardening.everything_is_in_its_namespace,
        "namespace is",
        lambda every: one(every, "Service")["metadata"].update(namespace="default"),
    ),
    (hardening.images_have_versions, "may be anything", in_container(lambda it: it.update(image="fairlead:latest"))),
]


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
    """The two configurations differ in the shield's listener and its caller, and in nothing else."""
    production, shielded = configuration(manifests("production")), configuration(manifests("shielded"))
    [added] = [each for each in shielded["listeners"] if each not in production["listeners"]]
    assert (added["tcp"]["host"], "identity" in added, "client_ca_file" in added["tcp"]["tls"]) == (
        "127.0.0.1",
        False,
        False,
    )
    shielded["listeners"].remove(added)
    shielded["callers"] = [each for each in shielded["callers"] if "token_sha256" not in each]
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
    command = [BUILD / "fairlead", "--check-config", file]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_check_config(overlay: str, certificates: Path, tmp_path: Path) -> None:
    """`fairlead --check-config` on each rendered ConfigMap, with certificates in place of the Secret's."""
    text = config_map(manifests(overlay), "fairlead.yaml")
    checked = check_config(text, certificates, tmp_path)
    if "admin: unknown field" in checked.stderr:
        pytest.skip("this fairlead has no admin port yet")
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
