"""What every overlay must be. A rule tells what is wrong; test_k8s.py shows that each notices what it is for."""

import ipaddress
import re
from collections.abc import Callable, Iterator

from tests.deploy.manifests import (
    Manifest,
    configuration,
    container,
    containers,
    gateway,
    lets_out,
    namespace,
    of_kind,
    one,
    pods,
    seconds,
    selects,
    size,
)
from tests.e2e.processes import ROOT

Rule = Callable[[list[Manifest]], Iterator[str]]
USER = 65532
# The defaults of docs/configuration.md.
DEFAULT_SHUTDOWN = "5s"
DEFAULT_BYTES = {"total_journal_bytes": "2GiB", "total_send_queue_bytes": "256MiB", "total_body_bytes": "1GiB"}
DEFAULT_DIRECTORY_BYTES = "4GiB"
# The process itself, and what gRPC has in flight.
SPARE_BYTES = 256 * 2**20
# gRPC's last words, and the kubelet's own time.
SPARE_S = 5.0


def gateway_pod(every: list[Manifest]) -> Manifest:
    pod: Manifest = gateway(every)["spec"]["template"]["spec"]
    return pod


def differs(where: str, given: Manifest, **wanted: object) -> Iterator[str]:
    for field, value in wanted.items():
        if given.get(field) != value:
            yield f"{where}: {field} is {given.get(field)}, not {value}"


def nobody_runs(every: list[Manifest]) -> Iterator[str]:
    """Every pod is of a user without name or power."""
    for name, pod in pods(every):
        context = pod.get("securityContext", {})
        yield from differs(name, context, runAsNonRoot=True, runAsUser=USER, runAsGroup=USER, fsGroup=USER)
        yield from differs(name, context, seccompProfile={"type": "RuntimeDefault"})
        for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            if pod.get(field):
                yield f"{name}: {field}"
        for each in containers(pod):
            here = f"{name}/{each['name']}"
            own = each.get("securityContext", {})
            yield from differs(here, own, allowPrivilegeEscalation=False, readOnlyRootFilesystem=True)
            yield from differs(here, own, capabilities={"drop": ["ALL"]})
            for field in set(own) - {"allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"}:
                yield f"{here}: {field} is the pod's business"


def volumes_are_harmless(every: list[Manifest]) -> Iterator[str]:
    """Nothing of the node; what is mounted from a ConfigMap or Secret is read-only and not everybody's."""
    for name, pod in pods(every):
        read_only = set()
        for volume in pod.get("volumes", []):
            [kind] = set(volume) - {"name"}
            if kind not in ("projected", "emptyDir"):
                yield f"{name}: volume {volume['name']} is a {kind}"
            if kind == "projected":
                read_only.add(volume["name"])
                yield from differs(f"{name}: volume {volume['name']}", volume[kind], defaultMode=0o440)
            if kind == "emptyDir" and "sizeLimit" not in volume[kind]:
                yield f"{name}: volume {volume['name']} has no bound"
        for each in containers(pod):
            for mount in each.get("volumeMounts", []):
                if mount["name"] in read_only and not mount.get("readOnly"):
                    yield f"{name}/{each['name']}: {mount['mountPath']} is not read-only"


def kubernetes_is_not_asked(every: list[Manifest]) -> Iterator[str]:
    for name, pod in pods(every):
        yield from differs(name, pod, automountServiceAccountToken=False, enableServiceLinks=False)
    for account in of_kind(every, "ServiceAccount"):
        yield from differs(account["metadata"]["name"], account, automountServiceAccountToken=False)
    for each in every:
        if each["kind"] in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"):
            yield f"{each['kind']} {each['metadata']['name']}"


def secrets_are_files(every: list[Manifest]) -> Iterator[str]:
    """Not in the repository, and not in an environment."""
    for secret in of_kind(every, "Secret"):
        yield f"Secret {secret['metadata']['name']} is among the manifests"
    for name, pod in pods(every):
        for each in containers(pod):
            if each.get("env") or each.get("envFrom"):
                yield f"{name}/{each['name']} has an environment"
    for listener in configuration(every)["listeners"]:
        for field, file in listener.get("tcp", {}).get("tls", {}).items():
            if file not in files_of_gateway(every):
                yield f"{field}: nothing is mounted at {file}"


def files_of_gateway(every: list[Manifest]) -> set[str]:
    """What is mounted into the gateway from ConfigMaps and Secrets, by path. A mistake in a name leaves a file out."""
    maps = {each["metadata"]["name"]: each for each in of_kind(every, "ConfigMap")}
    pod = gateway_pod(every)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    found = set()
    for mount in container(pod, "fairlead")["volumeMounts"]:
        for source in volumes.get(mount["name"], {}).get("projected", {}).get("sources", []):
            names: list[str] = []
            if "configMap" in source:
                names = list(maps.get(source["configMap"]["name"], {}).get("data", {}))
            elif "secret" in source:
                names = [item["path"] for item in source["secret"]["items"]]
            found |= {f"{mount['mountPath']}/{name}" for name in names}
    return found


def configuration_is_found(every: list[Manifest]) -> Iterator[str]:
    """Argument, mount and ConfigMap belong together. The gateway reads its own anew; others must not change."""
    pod = gateway_pod(every)
    arguments = container(pod, "fairlead")["args"]
    if arguments[0] != "--config" or arguments[1] not in files_of_gateway(every):
        yield f"nothing is mounted for {arguments}"
    for each in of_kind(every, "ConfigMap"):
        if "fairlead.yaml" in each["data"]:
            if each["metadata"]["name"] != "fairlead" or each.get("immutable"):
                yield f"ConfigMap {each['metadata']['name']} cannot be changed"
        elif not re.search(r"-[0-9a-z]{10}$", each["metadata"]["name"]) or not each.get("immutable"):
            yield f"ConfigMap {each['metadata']['name']} may change under its pods"


def resources_are_bounded(every: list[Manifest]) -> Iterator[str]:
    for name, pod in pods(every):
        for each in containers(pod):
            here = f"{name}/{each['name']}"
            resources = each.get("resources", {})
            for field in ("cpu", "memory", "ephemeral-storage"):
                if field not in resources.get("requests", {}):
                    yield f"{here}: requests no {field}"
            for field in ("memory", "ephemeral-storage"):
                if field not in resources.get("limits", {}):
                    yield f"{here}: has no limit of {field}"


def memory_holds_the_limits(every: list[Manifest]) -> Iterator[str]:
    config = configuration(every)
    limits = DEFAULT_BYTES | config.get("limits", {})
    needed = sum(size(limits[field]) for field in DEFAULT_BYTES) + SPARE_BYTES
    pod = gateway_pod(every)
    given = size(container(pod, "fairlead")["resources"]["limits"]["memory"])
    if given < needed:
        yield f"limits of the configuration may take {needed >> 20} MiB; the container has {given >> 20}"
    if "journal_directory" in config:
        directory = config["journal_directory"]
        [claim] = gateway(every)["spec"].get("volumeClaimTemplates", [{}])
        mounts = {each["name"]: each["mountPath"] for each in container(pod, "fairlead")["volumeMounts"]}
        storage = claim.get("spec", {}).get("resources", {}).get("requests", {}).get("storage", "0")
        if not directory["path"].startswith(f"{mounts.get(claim.get('metadata', {}).get('name'))}/"):
            yield f"{directory['path']} is on no volume"
        if size(storage) <= size(directory.get("max_bytes", DEFAULT_DIRECTORY_BYTES)):
            yield f"journals may outgrow their volume of {storage}"


def probes_reach_the_admin_port(every: list[Manifest]) -> Iterator[str]:
    pod = gateway_pod(every)
    gate = container(pod, "fairlead")
    address, port = configuration(every)["admin"]["address"].rsplit(":", 1)
    ports = {each["name"]: each["containerPort"] for each in gate["ports"]}
    if address not in ("0.0.0.0", "[::]"):
        yield f"the kubelet cannot reach {address}"
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        asks = gate.get(probe, {}).get("httpGet", {})
        yield from differs(probe, asks, path=path)
        if ports.get(asks.get("port")) != int(port):
            yield f"{probe} asks {asks.get('port')}, and the admin port is {port}"
    for listener in configuration(every)["listeners"]:
        tcp = listener.get("tcp", {})
        if tcp.get("host") not in (None, "127.0.0.1") and tcp["port"] not in ports.values():
            yield f"port {tcp['port']} is not told"


def drain_fits(every: list[Manifest]) -> Iterator[str]:
    """preStop, then the gateway's own drain, then some to spare, before SIGKILL."""
    pod = gateway_pod(every)
    sleep = container(pod, "fairlead").get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if not sleep:
        yield "it is told to end before DNS has forgotten it"
    drain = seconds(configuration(every).get("shutdown_timeout", DEFAULT_SHUTDOWN))
    grace = pod.get("terminationGracePeriodSeconds", 30)
    if grace < sleep + drain + SPARE_S:
        yield f"killed after {grace} s, while preStop takes {sleep} s and the drain {drain} s"


def shards_are_named(every: list[Manifest]) -> Iterator[str]:
    """A headless Service of the StatefulSet's pods, a budget, and no two on one node if that can be had."""
    stateful = gateway(every)
    labels = stateful["spec"]["template"]["metadata"]["labels"]
    service = one(every, "Service", stateful["spec"]["serviceName"])
    yield from differs("Service", service["spec"], clusterIP="None")
    if not selects({"matchLabels": service["spec"]["selector"]}, labels):
        yield "the Service has no pods"
    pod = gateway_pod(every)
    names = {port["name"] for each in containers(pod) for port in each.get("ports", [])}
    for port in service["spec"]["ports"]:
        if port["targetPort"] not in names:
            yield f"the Service's port {port['name']} leads nowhere"
    budgets = [each for each in of_kind(every, "PodDisruptionBudget") if selects(each["spec"]["selector"], labels)]
    if [each["spec"].get("maxUnavailable") for each in budgets] != [1]:
        yield "there is no budget of one pod"
    constraints = pod.get("topologySpreadConstraints", [])
    spread = {each["topologyKey"] for each in constraints if selects(each["labelSelector"], labels)}
    if spread != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}:
        yield f"spread over {sorted(spread)} only"
    yield from differs("StatefulSet", stateful["spec"], podManagementPolicy="Parallel")


# ---- The network. ----


def ranges_of_gateway() -> list[str]:
    """What server/policy/ip_address.cc takes for not public."""
    text = (ROOT / "server/policy/ip_address.cc").read_text()
    ranges = re.findall(r"\{\{(0?x?\w+), (0?x?\w+), (0?x?\w+), (0?x?\w+)\}, (\d+)\},", text)
    found = []
    for *octets, prefix in ranges:
        numbers = bytes(int(each, 0) for each in octets)
        wide = "0x" in octets[0]
        found.append(f"{ipaddress.ip_address(numbers + bytes(12) if wide else numbers)}/{prefix}")
    assert len(found) > 15, found
    return found


def network_is_fenced(every: list[Manifest]) -> Iterator[str]:
    labels = gateway(every)["spec"]["template"]["metadata"]["labels"]
    policies = [each for each in of_kind(every, "NetworkPolicy") if selects(each["spec"]["podSelector"], labels)]
    if len(policies) != 1:
        yield f"{len(policies)} policies for the gateway"
        return
    [policy] = policies
    if set(policy["spec"].get("policyTypes", [])) != {"Ingress", "Egress"}:
        yield "one direction is open"
    for rule in policy["spec"]["ingress"]:
        if not rule.get("from") or not rule.get("ports"):
            yield "anybody is let in"
        for peer in rule.get("from", []):
            if not any(peer.get(each, {}).get("matchLabels") for each in ("podSelector", "namespaceSelector")):
                yield f"anybody is let in by {peer}"
    for text in ranges_of_gateway():
        network = ipaddress.ip_network(text)
        # Both ends, as a range that is cut short lets one of them out.
        for end in (str(network[0]), str(network[-1])):
            if lets_out(policy, end, 443):
                yield f"{end} is let out"
    for address in ("169.254.169.254", "fd00:ec2::254", "::1", "fe80::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"):
        if lets_out(policy, address, 443):
            yield f"{address} is let out"
    names = [each for each in policy["spec"]["egress"] if any(port["port"] == 53 for port in each.get("ports", []))]
    if len(names) != 1 or any("ipBlock" in peer for peer in names[0].get("to", [])) or not names[0].get("to"):
        yield "DNS is not the cluster's alone"


def exchanges_are_reached(every: list[Manifest]) -> Iterator[str]:
    """Only where exchanges are public."""
    [policy] = [each for each in of_kind(every, "NetworkPolicy") if each["metadata"]["name"] == "fairlead"]
    for address in ("1.1.1.1", "192.0.3.1", "2606:4700::1111"):
        if not lets_out(policy, address, 443):
            yield f"{address} is not let out"
        if lets_out(policy, address, 80):
            yield f"{address} is let out in plain"


def everything_is_in_its_namespace(every: list[Manifest]) -> Iterator[str]:
    home = namespace(every)
    labels = one(every, "Namespace")["metadata"].get("labels", {})
    yield from differs("Namespace", labels, **{"pod-security.kubernetes.io/enforce": "restricted"})
    for each in every:
        if each["kind"] != "Namespace":
            yield from differs(f"{each['kind']} {each['metadata']['name']}", each["metadata"], namespace=home)


def images_have_versions(every: list[Manifest]) -> Iterator[str]:
    for name, pod in pods(every):
        for each in containers(pod):
            if not re.search(r":\d[\w.-]*$|@sha256:[0-9a-f]{64}$", each["image"]):
                yield f"{name}/{each['name']}: {each['image']} may be anything"


EVERYWHERE: tuple[Rule, ...] = (
    nobody_runs,
    volumes_are_harmless,
    kubernetes_is_not_asked,
    secrets_are_files,
    configuration_is_found,
    resources_are_bounded,
    memory_holds_the_limits,
    probes_reach_the_admin_port,
    drain_fits,
    shards_are_named,
    network_is_fenced,
    everything_is_in_its_namespace,
    images_have_versions,
)
