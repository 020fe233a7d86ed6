"""The Kubernetes manifests against the API's own schemas, and against each other. No cluster is needed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate.utils import ValidationError, validate

FOLDER = Path(__file__).resolve().parents[2] / "compose" / "kubernetes"
# The last one with the glusterfs provisioner, and a present one.
VERSIONS = ("1.25", "1.34")
KUSTOMIZATION = "kustomization.yaml"


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(FOLDER.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield path.name, document


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {found["metadata"]["name"]: found for _, found in documents() if found["kind"] == kind}


def pods() -> dict[str, dict[str, Any]]:
    return {
        name: found["spec"]["template"] for kind in ("Deployment", "DaemonSet") for name, found in named(kind).items()
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_what_the_api_takes(version: str) -> None:
    checked = [validate(document, version, strict=True) for name, document in documents() if name != KUSTOMIZATION]
    assert len(checked) > 15
    assert set(checked) == {version}


def test_a_mistake_would_be_found() -> None:
    wrong = named("Deployment")["gateway"]
    wrong["spec"]["replica"] = 2
    with pytest.raises(ValidationError):
        validate(wrong, VERSIONS[0], strict=True)


def test_the_kustomization_has_every_file() -> None:
    listed = yaml.safe_load((FOLDER / KUSTOMIZATION).read_text())["resources"]
    assert sorted(listed) == sorted({name for name, _ in documents()} - {KUSTOMIZATION})


def test_selectors_find_their_pods() -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods().items()}
    for kind in ("Deployment", "DaemonSet", "PodDisruptionBudget"):
        for name, found in named(kind).items():
            assert found["spec"]["selector"]["matchLabels"] == labels[name], (kind, name)
    for name, service in named("Service").items():
        assert service["spec"]["selector"] == labels[name]
        ports = {port["name"]: port["containerPort"] for port in pods()[name]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]} == ports
    for name, policy in named("NetworkPolicy").items():
        if name != "nothing-else":
            wanted = policy["spec"]["podSelector"]["matchLabels"]
            assert wanted.items() <= labels[name].items()


def test_the_control_plane_is_replicated_and_not_root() -> None:
    for name in ("gateway", "topology", "allocator"):
        assert named("Deployment")[name]["spec"]["replicas"] == 2
        pod = pods()[name]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_every_pod_is_probed_at_the_port_where_it_listens() -> None:
    for name, pod in pods().items():
        (container,) = pod["spec"]["containers"]
        words = [*container.get("command", []), *container.get("args", [])]
        (listen,) = [word.rpartition(":")[2] for word in words if word.startswith("--listen=")]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            command = container[probe]["exec"]["command"]
            assert command[:3] == ["brickyard", "health", f"127.0.0.1:{listen}"], name
            assert f"--role={name}" in command
            # A restart does not bring a database back.
            assert ("--alive" in command) == (probe == "livenessProbe")
