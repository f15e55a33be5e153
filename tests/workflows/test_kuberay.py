"""workflows/kuberay-rayjob.yaml: its fields against the schema of KubeRay's RayJob, and what it says of sptx and Ray.

`SPTX_RAYJOB_CRD` is the path of KubeRay's ray.io_rayjobs.yaml (helm-chart/kuberay-operator/crds of its repository).
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

from pipeline.cli.app import app

ROOT = Path(__file__).parents[2]
MANIFEST = ROOT / "workflows" / "kuberay-rayjob.yaml"


def documents() -> dict[str, Any]:
    return {document["kind"]: document for document in yaml.safe_load_all(MANIFEST.read_text())}


def spec() -> Any:
    return documents()["RayJob"]["spec"]


def strict(schema: Any) -> Any:
    """A schema of Kubernetes as one of JSON that refuses fields which it does not name, as the API server does."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {
        key: {name: strict(one) for name, one in value.items()} if key == "properties" else strict(value)
        for key, value in schema.items()
        if key != "description"
    }
    if "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


@pytest.fixture(scope="module")
def schema() -> Any:
    """Of a RayJob of version v1."""
    path = os.environ.get("SPTX_RAYJOB_CRD")
    if not path:
        pytest.skip("SPTX_RAYJOB_CRD does not name KubeRay's ray.io_rayjobs.yaml")
    versions = yaml.safe_load(Path(path).read_text())["spec"]["versions"]
    return strict(next(one["schema"]["openAPIV3Schema"] for one in versions if one["name"] == "v1"))


def errors(job: Any, schema: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(job)]


def test_every_field_is_one_of_a_rayjob(schema: Any) -> None:
    job = documents()["RayJob"]
    assert errors(job, schema) == []
    for group in (job["spec"]["rayClusterSpec"]["headGroupSpec"], *job["spec"]["rayClusterSpec"]["workerGroupSpecs"]):
        container = group["template"]["spec"]["containers"][0]
        container["imagePullPolice"] = "Always"
        assert len(errors(job, schema)) == 1  # so a misspelt field of any pod is refused
        del container["imagePullPolice"]
    job["spec"]["backoffLimit"] = "5"
    assert errors(job, schema)


def test_the_entrypoint_is_a_command_of_sptx() -> None:
    program, name, *words = shlex.split(spec()["entrypoint"])
    group: Any = typer.main.get_command(app)
    flags = {flag for option in group.commands[name].params for flag in option.opts}
    assert program == "sptx"
    assert {word for word in words if word.startswith("--")} <= flags
    assert words[words.index("--address") + 1] == "auto"


def test_the_groups_are_what_the_entrypoint_asks_for() -> None:
    words = shlex.split(spec()["entrypoint"])
    gpu, cpu = spec()["rayClusterSpec"]["workerGroupSpecs"]
    assert int(words[words.index("--workers") + 1]) == gpu["maxReplicas"]  # one GPU a node
    assert gpu["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert gpu["minReplicas"] >= 1  # else a run that is to hold GPUs is refused
    assert cpu["minReplicas"] == 0


def test_the_versions_and_the_account_agree() -> None:
    cluster = spec()["rayClusterSpec"]
    assert f"ray=={cluster['rayVersion']}" in (ROOT / "constraints.txt").read_text().splitlines()  # as the image has
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    assert {pod["serviceAccountName"] for pod in pods} == {documents()["ServiceAccount"]["metadata"]["name"]}
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert {"readinessProbe", "livenessProbe", "envFrom"} <= pod["containers"][0].keys()
