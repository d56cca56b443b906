"""Small wrongs of the manifests, one for each thing that a rule of hardening.py is for."""

from collections.abc import Callable
from typing import Any

import yaml

from tests.deploy import hardening
from tests.deploy.hardening import Rule, exchanges_are_reached
from tests.deploy.manifests import Manifest, configuration, container, gateway, of_kind, one

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
        in_pod(lambda pod: [v["projected"]["sources"][0]["configMap"].update(name="other") for v in pod["volumes"]]),
    ),
    (
        hardening.configuration_is_found,
        "cannot be changed",
        lambda every: of_kind(every, "ConfigMap")[0].update(immutable=True),
    ),
    (
        hardening.configuration_is_found,
        "may change",
        lambda every: of_kind(every, "ConfigMap")[1]["metadata"].update(name="fairlead-shield"),
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
