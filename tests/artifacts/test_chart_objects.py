"""Every values file of ci/, by Helm 3 and Helm 4: objects that a cluster takes as they are."""

import functools
import re

import pytest

from tests.support.charts import (
    CI_VALUES,
    HELMS,
    KUBERNETES,
    configuration,
    is_custom,
    kubernetes_problems,
    of_kind,
    one,
    operator_problems,
    pod_specs,
    render,
)

#: How a Secret's value could get out of its Secret.
TELLING = re.compile(r"(?i)(password|secret|token|routing_?key|webhook_?url|://[^/@\s]*:[^/@\s]+@)")
#: Where a Secret is mounted, as the value of a key or within a dsn.
PLACE = re.compile(r"(\w+_file: )?'?/etc/pgheadroom/secrets/[-.\w/]+")
FEATURES = [path.name.removesuffix("-values.yaml") for path in CI_VALUES]
#: Every name that one may choose as something that is a number in YAML, where it is not quoted.
NUMBERS = {
    "nameOverride": "1e3",
    "fullnameOverride": "123",
    "secrets": ["4"],
    "global": {"imagePullSecrets": ["5"]},
    "serviceAccount": {"name": "6"},
    "priorityClassName": "7",
    "schedulerName": "8",
    "runtimeClassName": "9",
    "persistence": {"storageClass": "10", "size": "11", "emptyDirSizeLimit": "12"},
    "ingress": {"className": "13"},
    "serviceMonitor": {"namespace": "14", "jobLabel": "15"},
    "podMonitor": {"namespace": "14", "jobLabel": "15"},
    "scrapeConfig": {"namespace": "14", "jobName": "16"},
    "dashboards": {"namespace": "17"},
}
#: Those that a feature alone can have.
MORE_NUMBERS = {
    "existing-config": {"existingConfig": {"secret": "18"}},
    "existing-config-map": {"existingConfig": {"configMap": "19"}},
    "existing-claim": {"persistence": {"existingClaim": "20"}},
}
each_helm = pytest.mark.parametrize("major", HELMS)
each_feature = pytest.mark.parametrize("feature", FEATURES)


@functools.cache
def rendered(major, feature):
    values = next(each for each in CI_VALUES if each.name == f"{feature}-values.yaml")
    return render(major, values)


@functools.cache
def numbered(major, feature):
    """The same, with a number for every name."""
    values = next(each for each in CI_VALUES if each.name == f"{feature}-values.yaml")
    more = MORE_NUMBERS.get(feature, {})
    return render(major, values, NUMBERS, more, release="1e3", namespace="12345")


def containers(spec):
    return [*spec.get("initContainers", ()), *spec["containers"]]


@each_helm
@each_feature
@pytest.mark.parametrize("make", [rendered, numbered])
def test_a_cluster_takes_every_object(make, major, feature):
    for thing in make(major, feature):
        if not is_custom(thing):
            for version in KUBERNETES:
                assert list(kubernetes_problems(version, thing)) == []


def test_a_cluster_would_notice():
    """The schemas refuse what they should: an unknown key, and a kind that is not there."""
    good = one(rendered("3", "minimal"), "Service")
    assert list(kubernetes_problems("1.37.0", good)) == []
    wrong = good | {"spec": good["spec"] | {"selectors": {}}}
    assert "selectors" in next(kubernetes_problems("1.37.0", wrong))
    with pytest.raises(FileNotFoundError):
        list(kubernetes_problems("1.37.0", good | {"kind": "Servise"}))


@pytest.mark.parametrize("make", [rendered, numbered])
def test_the_operators_take_their_objects(make, tmp_path):
    """Helm 4 makes the same ones, as another test says."""
    found = [thing for feature in FEATURES for thing in make("3", feature) if is_custom(thing)]
    assert {thing["kind"] for thing in found} == {
        "ServiceMonitor", "PodMonitor", "ScrapeConfig", "PrometheusRule", "GrafanaDashboard"
    }  # fmt: skip
    assert operator_problems(found, tmp_path) == ""


def test_the_operators_would_notice(tmp_path):
    good = one(rendered("3", "service-monitor"), "ServiceMonitor")
    wrong = [{"port": "http", "interval": "soon"}, {"port": "http", "intervall": "15s"}]
    said = operator_problems([good | {"spec": good["spec"] | {"endpoints": wrong}}], tmp_path)
    assert "'\"intervall\"' does not exist" in said
    assert "/spec/endpoints/0/interval must match" in said


@each_helm
@each_feature
def test_both_helms_make_the_same(major, feature):
    assert rendered(major, feature) == rendered("3", feature)


@each_feature
def test_names_are_given_once(feature):
    """Server-side apply refuses a second environment variable, port or mount of one name."""
    objects = rendered("4", feature)
    names = [(thing["kind"], thing["metadata"]["name"]) for thing in objects]
    assert len(names) == len(set(names))
    for spec in pod_specs(objects):
        assert_unique(spec.get("volumes", ()), "name")
        for each in containers(spec):
            assert_unique(each.get("env", ()), "name")
            assert_unique(each.get("ports", ()), "name")
            assert_unique(each.get("volumeMounts", ()), "mountPath")
        mounted = {mount["name"] for c in containers(spec) for mount in c.get("volumeMounts", ())}
        assert mounted == {volume["name"] for volume in spec.get("volumes", ())}
    for service in of_kind(objects, "Service"):
        assert_unique(service["spec"]["ports"], "name")


def assert_unique(things, key):
    found = [thing[key] for thing in things]
    assert len(found) == len(set(found)), found


@each_feature
def test_pods_are_restricted(feature):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    for spec in pod_specs(rendered("4", feature)):
        pod = spec["securityContext"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert pod["runAsNonRoot"] is True
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        ids = [pod.get(name) for name in ("runAsUser", "runAsGroup", "fsGroup")]
        assert ids == ([None] * 3 if feature == "openshift" else [65532] * 3)
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        for volume in spec.get("volumes", ()):
            assert {"configMap", "secret", "emptyDir", "persistentVolumeClaim"} & volume.keys()
        for each in containers(spec):
            own = each["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert not {"privileged", "procMount"} & own.keys()
            assert not any("hostPort" in port for port in each.get("ports", ()))


@each_feature
def test_nothing_of_a_secret_is_in_the_open(feature):
    objects = rendered("4", feature)
    assert of_kind(objects, "Secret") == []
    for thing in of_kind(objects, "ConfigMap"):
        if any(name.endswith(".json") for name in thing.get("data", {})):
            continue  # a dashboard
        text = "\n".join(map(str, thing.get("data", {}).values()))
        lines = text.splitlines()
        assert [line for line in lines if TELLING.search(PLACE.sub("", line))] == []
    for spec in pod_specs(objects):
        for each in containers(spec):
            words = [*each.get("args", ()), *each.get("command", ())]
            assert [word for word in words if TELLING.search(word)] == []
            assert "secretKeyRef" not in str(each.get("env", ""))
            assert "subPath" not in str(each.get("volumeMounts", ""))


@each_feature
def test_one_process_that_no_database_restarts(feature):
    objects = rendered("4", feature)
    deployment = one(objects, "Deployment")["spec"]
    assert deployment["replicas"] == (0 if feature == "paused" else 1)
    assert deployment["strategy"] == {"type": "Recreate"}
    own = deployment["template"]["spec"]["containers"][0]
    paths = [own[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness")]
    assert paths == ["/healthz", "/healthz"]
    assert own["readinessProbe"]["httpGet"]["path"] == "/readyz"
    state = {volume["name"]: volume for volume in deployment["template"]["spec"]["volumes"]}[
        "state"
    ]
    assert {"emptyDir", "persistentVolumeClaim"} & state.keys()


@each_feature
def test_selectors_find_our_pod_and_no_other(feature):
    objects = rendered("4", feature)
    labels = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    wanted = one(objects, "Service")["spec"]["selector"]
    assert wanted.items() <= labels.items()
    assert "helm.sh/chart" not in wanted
    assert "helm.sh/chart" not in one(objects, "Deployment")["spec"]["selector"]["matchLabels"]
    for test in of_kind(objects, "Pod"):
        assert not wanted.items() <= test["metadata"]["labels"].items()
    for thing in objects:
        assert {"app.kubernetes.io/name"} <= thing["metadata"].get("labels", {}).keys() or (
            feature == "extras" and thing["kind"] == "ConfigMap"
        )


@each_feature
def test_the_install_id_and_the_state_are_stable(feature):
    if feature.startswith("existing-config"):
        return
    found = configuration(rendered("4", feature))
    wanted = {"config": "eu-west-1/pgheadroom", "names": "databases/slots"}
    assert found["install_id"] == wanted.get(feature, "db/pg-pgheadroom")
    assert found["state_dir"].startswith("/var/lib/pgheadroom/")
    assert found["listen"].endswith(":9970")
