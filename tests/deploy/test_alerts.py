"""deploy/monitoring: Prometheus' own tool reads the alerts, tries each; the gateway exports what they are made of."""

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.alert_cases import CASES, Case
from tests.e2e.processes import BUILD, PATIENCE_S, ROOT, Gateway

ALERTS = ROOT / "deploy/monitoring/alerts.yaml"
DASHBOARD = ROOT / "deploy/monitoring/dashboard.json"
NOT_OURS = {"up"}


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed: run `make setup`")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=PATIENCE_S)


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


# ---- Prometheus reads and tries them. ----


def test_prometheus_understands_them() -> None:
    checked = promtool("check", "rules", ALERTS)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules())} rules found" in checked.stdout


def write_cases(directory: Path, alerts: str, cases: list[Case]) -> Path:
    """The file for `promtool test rules`."""
    (directory / "alerts.yaml").write_text(alerts)
    tests = []
    for case in cases:
        [rule] = [each for each in rules() if each["alert"] == case.alert]
        fired = {
            "exp_labels": rule["labels"] | case.labels,
            "exp_annotations": {"summary": case.says, "description": rule["annotations"]["description"]},
        }
        expected = {
            "eval_time": f"{case.minutes}m",
            "alertname": case.alert,
            "exp_alerts": [fired] if case.says else [],
        }
        tests.append(
            {
                "name": f"{case.alert}: {case.what}",
                "interval": "1m",
                "input_series": [{"series": series, "values": values} for series, values in case.given],
                "alert_rule_test": [expected],
            }
        )
    file = directory / "cases.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": tests}))
    return file


def test_they_fire_when_they_should(tmp_path: Path) -> None:
    tried = promtool("test", "rules", write_cases(tmp_path, ALERTS.read_text(), CASES))
    assert tried.returncode == 0, tried.stdout + tried.stderr


def test_each_is_tried_both_ways() -> None:
    for rule in rules():
        ways = {bool(case.says) for case in CASES if case.alert == rule["alert"]}
        assert ways == {True, False}, rule["alert"]


@pytest.mark.parametrize("rule", [each["alert"] for each in rules()])
def test_a_rule_that_never_or_always_fires_is_noticed(rule: str, tmp_path: Path) -> None:
    """Its comparison turned round, which makes each wrong in one of its cases."""
    groups = yaml.safe_load(ALERTS.read_text())
    [changed] = [each for each in groups["groups"][0]["rules"] if each["alert"] == rule]
    turned = re.sub(
        r" (>|<|==) (?=[\d* .]+$)", lambda found: {">": " < ", "<": " > ", "==": " != "}[found[1]], changed["expr"]
    )
    assert turned != changed["expr"]
    changed["expr"] = turned
    cases = [case for case in CASES if case.alert == rule]
    tried = promtool("test", "rules", write_cases(tmp_path, yaml.safe_dump(groups), cases))
    assert tried.returncode != 0
    assert rule in tried.stdout + tried.stderr


# ---- The dashboard. ----


def panels() -> list[dict[str, Any]]:
    return [each for each in json.loads(DASHBOARD.read_text())["panels"] if each["type"] != "row"]


def test_prometheus_understands_the_dashboard(tmp_path: Path) -> None:
    """Its expressions as rules, with what Grafana puts in place of its variables. No Grafana reads it."""
    texts = [target["expr"] for panel in panels() for target in panel["targets"]]
    expressions = [text.replace("$__rate_interval", "1m").replace("$instance", ".*") for text in texts]
    assert not [text for text in expressions if "$" in text]
    named = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": named}]}))
    checked = promtool("check", "rules", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_dashboard_has_no_two_in_one_place() -> None:
    everything = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    cells: set[tuple[int, int]] = set()
    for panel in everything:
        at = panel["gridPos"]
        its = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not its & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= its
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


# ---- What they are made of is exported. ----


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression, with where it stands."""
    for rule in rules():
        yield f"alert {rule['alert']}", rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"]


SELECTOR = re.compile(r"\b([a-z_]*[a-z])(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|=)\s*"([^"]*)"')


def selectors(expression: str) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Names of metrics, each with the values that its labels are asked for."""
    for name, inside in SELECTOR.findall(re.sub(r"\b(by|on|without) \([^)]*\)", "", expression)):
        if name.startswith("fairlead_") or name in NOT_OURS:
            yield name, {label: value.split("|") for label, _, value in MATCHER.findall(inside)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> "Exported":
    """Each name at /metrics of a real gateway, with the labels of its series; names without a series have none."""
    if not (BUILD / "fairlead").exists():
        pytest.fail(f"{BUILD}/fairlead is not built: run `make build`")
    scratch = tmp_path_factory.mktemp("gateway")
    gateway = Gateway(scratch, {"admin": {"address": "127.0.0.1:0"}})
    gateway.start()
    try:
        address = dict(word.split("=", 1) for word in gateway.ready_line.split()[2:])["admin"]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{address}/metrics", timeout=PATIENCE_S) as reply:
            text = reply.read().decode()
    finally:
        gateway.stop()
    found: dict[str, list[dict[str, str]]] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
                found.setdefault(name + suffix, [])
        elif not line.startswith("#"):
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line)
            assert match, line
            found.setdefault(match[1], []).append(dict(re.findall(r'(\w+)="([^"]*)"', match[2] or "")))
    return found


# Exported by a gateway with TLS alone: test_k8s_pods.py.
NOT_BY_EVERY_GATEWAY = {"fairlead_certificate_expiry_seconds"}
# Codes have no series before they have happened, all but OK.
UNBOUNDED = {("fairlead_rpcs_total", "code")}
OF_PROMETHEUS = {"job", "instance"}

Exported = dict[str, list[dict[str, str]]]


def missing(expression: str, exported: Exported) -> Iterator[str]:
    """What an expression asks for and no gateway exports: names, labels and values."""
    for name, labels in selectors(expression):
        if name in NOT_OURS | NOT_BY_EVERY_GATEWAY:
            continue
        if name not in exported:
            yield name
            continue
        for label, values in labels.items():
            if label not in OF_PROMETHEUS and (name, label) not in UNBOUNDED:
                there = {each.get(label) for each in exported[name]}
                yield from (f"{name}: {label}={value}" for value in values if value not in there)


def test_what_is_asked_for_is_exported(exported: Exported) -> None:
    names = {name for _, expression in expressions() for name, _ in selectors(expression)}
    assert len(names) > 20
    for where, expression in expressions():
        assert list(missing(expression, exported)) == [], where


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("rate(fairlead_frame_total[5m])", "fairlead_frame_total"),
        ("rate(fairlead_http_seconds[5m])", "fairlead_http_seconds"),
        ('fairlead_sessions{state="OPENED"} > 0', "fairlead_sessions: state=OPENED"),
        ('fairlead_sessions{state=~"OPEN|open"}', "fairlead_sessions: state=open"),
        ('fairlead_http_requests_total{status="5xx"}', "fairlead_http_requests_total: status=5xx"),
    ],
)
def test_what_is_not_exported_is_noticed(exported: Exported, expression: str, says: str) -> None:
    assert list(missing(expression, exported)) == [says]


def test_what_is_exported_is_shown(exported: Exported) -> None:
    """Each metric is in the dashboard or in an alert, so that a new one is not forgotten."""
    asked = {re.sub(r"_(bucket|sum|count)$", "", name) for _, text in expressions() for name, _ in selectors(text)}
    there = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported}
    assert there - asked == set()


def test_the_selectors_are_found() -> None:
    """Of the expressions themselves: else the tests above would look at nothing."""
    text = 'sum by (instance, le) (rate(fairlead_a_bucket{x=~"B|C",y="d"}[5m])) / on (instance) fairlead_e_total > 0'
    assert list(selectors(text)) == [("fairlead_a_bucket", {"x": ["B", "C"], "y": ["d"]}), ("fairlead_e_total", {})]
    assert all(list(selectors(expression)) for _, expression in expressions())
