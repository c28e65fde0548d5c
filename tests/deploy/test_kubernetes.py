"""The manifests without a cluster: each fits its kind's schema and keeps what we promise of every container."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cli.main import COMMANDS
from tests.deploy.tools import tool

ROOT = Path(__file__).parents[2] / "deploy" / "kubernetes"
SCHEMAS: dict[str, Any] = json.loads(
    gzip.decompress((Path(__file__).parent / "kubernetes-1.36.schema.json.gz").read_bytes())
)
OBJECTS: dict[str, Any] = {
    f"{document['kind']} {document['metadata']['name']}": document
    for file in sorted((ROOT / "base").glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
    if document["kind"] != "Kustomization"
}
WORKLOADS = {name: each for name, each in OBJECTS.items() if each["kind"] in {"Deployment", "Job"}}


def misfits(document: dict[str, Any]) -> list[str]:
    """What the strict schema of its kind says against an object."""
    wanted = f"{document['apiVersion']} {document['kind']}"
    validator = jsonschema.Draft202012Validator(SCHEMAS["kinds"][wanted] | {"$defs": SCHEMAS["$defs"]})
    return [error.message for error in validator.iter_errors(document)]


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_fits_its_schema(name: str) -> None:
    assert misfits(OBJECTS[name]) == []


def test_the_schema_sees_a_misspelt_field() -> None:
    wrong = json.loads(json.dumps(OBJECTS["Deployment success-worker"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}

    assert any("readynessProbe" in each for each in misfits(wrong))


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_container_is_not_root_writes_to_tmp_only_and_holds_no_secret(name: str) -> None:
    pod = WORKLOADS[name]["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]  # noqa: S108
    assert container["args"][0] in COMMANDS
    assert not any("SECRET" in each["name"] or "URL" in each["name"] for each in container.get("env", []))
    assert {"secretRef": {"name": "success-secrets"}} in container["envFrom"]


@pytest.mark.parametrize("name", [name for name in WORKLOADS if name.startswith("Deployment")])
def test_a_service_has_its_probes(name: str) -> None:
    (container,) = WORKLOADS[name]["spec"]["template"]["spec"]["containers"]
    ports = {port["name"] for port in container["ports"]}

    for probe, path in (
        ("startupProbe", "/healthz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
    ):
        assert container[probe]["httpGet"]["path"] == path
        assert container[probe]["httpGet"]["port"] in ports


@pytest.mark.parametrize("name", [name for name in WORKLOADS if name.startswith("Deployment")])
def test_the_port_that_is_probed_is_the_one_that_the_service_is_told(name: str) -> None:
    (container,) = WORKLOADS[name]["spec"]["template"]["spec"]["containers"]
    (told,) = [each["value"] for each in container["env"] if each["name"] == "SUCCESS_METRICS_PORT"]
    (port,) = [port["containerPort"] for port in container["ports"] if port["name"] == "metrics"]

    assert int(told) == port


def test_kustomize_builds_the_example_and_it_fits() -> None:
    built = subprocess.run(
        [tool("kubectl"), "kustomize", ROOT / "example"], capture_output=True, text=True, check=True
    ).stdout

    documents = list(yaml.safe_load_all(built))
    assert len(documents) == len(OBJECTS) + 1
    assert [wrong for each in documents for wrong in misfits(each)] == []
