"""Alerts, dashboard and page know the metrics that there are, and no metric names anybody."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import ProcessCollector

from api.routes.metrics import Metrics
from runtime.metrics import METRICS, NONE, OTHER, SERVICES, Names, registry_of
from tests.deploy.metrics_table import PAGE, shown, table
from tests.deploy.tools import tool

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
BOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "success.json").read_text(encoding="utf-8"))
METRIC = re.compile(r"\b(?:success|process)_[a-z0-9_]+")
LABELS = {"type", "outcome", "topic", "reason", "partition", "cause", "pool", "state", "part", "status"} | {
    *("template", "class", "level", "method", "route")
}


def known() -> set[str]:
    """All names that a scrape of all services has; a counter's `_created` left out."""
    registries = [registry_of(service) for service in SERVICES] + [Metrics().registry]
    of_processes = {
        sample.name for family in ProcessCollector(registry=None).collect() for sample in family.samples
    }
    return of_processes | {name for registry in registries for name in registry._names_to_collectors}


def expressions() -> list[str]:
    panels = [target["expr"] for panel in BOARD["panels"] for target in panel.get("targets", ())]
    return [rule["expr"] for rule in ALERTS] + panels


def test_alerts_and_dashboard_ask_for_metrics_that_there_are() -> None:
    asked = {name for expression in expressions() for name in METRIC.findall(expression)}
    assert asked
    assert asked <= known()


def test_every_metric_is_on_the_dashboard_or_in_an_alert_but_the_shadows() -> None:
    asked = {name for expression in expressions() for name in METRIC.findall(expression)}
    names = {shown(metric.instrument)[0] for metric in METRICS}
    unseen = {n for n in names if not asked & {n, f"{n}_bucket"}}
    assert unseen == {"success_shadow_decisions_total"}


def test_the_page_has_the_table_and_says_of_each_alert_what_to_do() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert table() in page
    for rule in ALERTS:
        assert rule["annotations"]["runbook"] == f"docs/metrics.md#{rule['alert'].lower()}"
        assert f"### {rule['alert']}\n" in page


def test_names_end_as_prometheus_has_them_and_labels_are_few() -> None:
    for metric in METRICS:
        name, labels = shown(metric.instrument)
        assert name.startswith("success_")
        assert set(labels) <= LABELS
        assert metric.instrument._type != "histogram" or name.endswith("_seconds")


def test_names_from_outside_are_bounded_and_never_an_address() -> None:
    names = Names(3)
    assert [names(each) for each in ("a.b", "zuleika@private.example", "", None, "x" * 65, "7")] == [
        *("a.b", OTHER, NONE, NONE, OTHER, OTHER)
    ]
    assert [names(f"type.{number}") for number in range(1000)][:4] == ["type.0", "type.1", OTHER, OTHER]
    assert names("type.1") == "type.1"


def test_every_alert_fires_and_none_where_all_is_well() -> None:
    tests = yaml.safe_load((DEPLOY / "prometheus" / "rules_test.yml").read_text(encoding="utf-8"))
    assert {f"{rule['alert']} fires" for rule in ALERTS} <= {each["name"] for each in tests["tests"]}
    for command in (["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]):
        ran = subprocess.run(
            [tool("promtool"), *command],
            cwd=DEPLOY / "prometheus",
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
