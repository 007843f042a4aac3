"""The JSON schema of the values: made from `values.yaml` and from the schema of the configuration.

It is strict, fits a chart that depends on this one, and has no key whose value would be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from exporter.config.model import Config
from tools.chart.values import defaults, values

Schema = dict[str, Any]
#: Both Helm 3 and Helm 4 understand it.
_DRAFT = "http://json-schema.org/draft-07/schema#"
#: What an editor or pydantic wants to know, and Helm does not.
_UNUSED = frozenset({"title", "default", "format", "writeOnly", "discriminator"})
#: The chart sets these itself.
_OWN_KEYS = frozenset({"listen", "state_dir"})
_OPTIONAL_ID = {"type": ["integer", "null"], "minimum": 0}
_DURATION = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)([0-9]+(ms|s|m|h))*$"}
_KEY = {"type": "string", "pattern": "^[-._a-zA-Z0-9]*$"}
_NAME = {"type": "string", "pattern": "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", "maxLength": 253}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_TEXT = {"type": "string"}
_RULE = {"type": "object", "properties": {"alert": _TEXT, "record": _TEXT}}
_GROUPS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "rules"],
        "properties": {"name": _TEXT, "rules": {"type": "array", "items": _RULE}},
    },
}


def schema() -> Schema:
    """The JSON schema of the values: strict, and fit for a chart that depends on this one."""
    whole = _of_default(defaults())
    for key, part in _special().items():
        _put(whole, key.split("."), part)
    for value in values():
        if value.description:
            _put(whole, value.key.split("."), {"description": value.description}, merge=True)
    return {"$schema": _DRAFT, "title": "pgheadroom", **whole, "$defs": _definitions()}


def _of_default(value: object) -> Schema:
    """The type of a default; a mapping with keys has no others, an empty one has any."""
    if isinstance(value, dict) and value:
        inner = {key: _of_default(each) for key, each in value.items()}
        return {"type": "object", "additionalProperties": False, "properties": inner}
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    kinds |= {list: "array", dict: "object"}
    return {"type": kinds[type(value)]}


def _put(whole: Schema, place: list[str], part: Schema, *, merge: bool = False) -> None:
    for key in place[:-1]:
        whole = whole["properties"][key]
    before = whole["properties"][place[-1]] if merge else {}
    whole["properties"][place[-1]] = before | part


def _special() -> dict[str, Schema]:
    """What a default cannot say."""
    listed = {name: {"$ref": f"#/$defs/chart.{name}"} for name in ("server", "pooler", "receiver")}
    special: dict[str, Schema] = {
        f"{name}s": {"type": "array", "items": ref} for name, ref in listed.items()
    }
    special |= {
        "config": {"$ref": "#/$defs/Config"},
        "secrets": {"type": "array", "items": _NAME},
        "existingConfig.key": _KEY,
        "replicas": {"type": "integer", "enum": [0, 1]},
        "rules.additionalGroups": _GROUPS,
        "prometheusRule.additionalGroups": _GROUPS,
        "prometheusRule.disabled": {"type": "array", "items": {"type": "string"}},
        "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
        "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
        "image.pullSecrets": {"type": "array", "items": {"type": ["string", "object"]}},
        "service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
        "service.port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "service.ipFamilyPolicy": {
            "enum": ["", "SingleStack", "PreferDualStack", "RequireDualStack"]
        },
        "podSecurityContext": {"type": "object"},
        "securityContext": {"type": "object"},
        "dashboards.grafanaOperator.instanceSelector": {"type": "object"},
        "dashboards.grafanaOperator.resyncPeriod": _DURATION,
        "dashboards.labels": _TEXTS,
        "env": {
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        },
        "extraEnv": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        "extraObjects": {"type": "array", "items": {"type": ["object", "string"]}},
    }
    for part in ("serverPorts", "receiverPorts"):
        port = {"type": "integer", "minimum": 1, "maximum": 65535}
        special[f"networkPolicy.{part}"] = {"type": "array", "items": port}
    for monitor in ("serviceMonitor", "podMonitor", "scrapeConfig"):
        special |= {f"{monitor}.interval": _DURATION, f"{monitor}.scrapeTimeout": _DURATION}
    texts = ("commonLabels", "commonAnnotations", "podLabels", "podAnnotations")
    return special | dict.fromkeys((*texts, "deploymentAnnotations", "nodeSelector"), _TEXTS)


def _definitions() -> Schema:
    """The models of pgheadroom without what would be a secret in a ConfigMap, and the chart's."""
    own = Config.model_json_schema()
    models: Schema = {"Config": own} | own.pop("$defs")
    kinds = own["properties"]["receivers"]["items"]["discriminator"]["mapping"]
    made = {name: _without_secrets(model) for name, model in models.items()}
    config = made["Config"]
    config["required"] = []
    config["properties"] = {k: v for k, v in config["properties"].items() if k not in _OWN_KEYS}
    config["properties"]["receivers"]["items"] = _by_type(kinds)
    return made | _chart_definitions(made, kinds)


def _chart_definitions(made: Schema, kinds: Mapping[str, str]) -> Schema:
    """Servers, poolers and receivers as the chart takes them: with an existingSecret."""
    chart: Schema = {"chart.credentials": _with_login(made["Credentials"])}
    for name, model, probe in (("server", "Server", "Probe"), ("pooler", "Pooler", "PoolerProbe")):
        chart[f"chart.{name}"] = _with_login(made[model])
        chart[f"chart.{name}"]["properties"]["probe"] = {"$ref": f"#/$defs/chart.{name}Probe"}
        chart[f"chart.{name}Probe"] = deepcopy(made[probe])
        login = {"$ref": "#/$defs/chart.credentials"}
        chart[f"chart.{name}Probe"]["properties"]["credentials"] = login
    for kind, ref in kinds.items():
        chart[f"chart.{kind}"] = _with_secret(made[ref.rpartition("/")[2]])
    chart["chart.receiver"] = _by_type({kind: f"#/$defs/chart.{kind}" for kind in kinds})
    return chart


def _without_secrets(part: Any) -> Any:  # noqa: ANN401  JSON
    """`part` without keys whose values are secrets; a dsn may stay, the templates look into it."""
    if isinstance(part, list):
        return [_without_secrets(each) for each in part]
    if not isinstance(part, dict):
        return part
    kept = {key: value for key, value in part.items() if key not in _UNUSED}
    if "properties" in kept:
        kept["properties"] = {
            name: _without_secrets(inner)
            for name, inner in part["properties"].items()
            if name == "dsn" or not _is_secret(inner)
        }
        return {k: v if k == "properties" else _without_secrets(v) for k, v in kept.items()}
    others = [part.get("additionalProperties"), *part.get("patternProperties", {}).values()]
    if any(map(_is_secret, others)):
        # Headers: most name a tenant, some log in.
        telling = {"(?i)(auth|token|key|secret|cookie|passw)": False}
        kept["patternProperties"] = kept.get("patternProperties", {}) | telling
    return {key: _without_secrets(value) for key, value in kept.items()}


def _is_secret(part: object) -> bool:
    if not isinstance(part, dict):
        return False
    return bool(part.get("writeOnly")) or any(map(_is_secret, part.get("anyOf", ())))


def _by_type(kinds: Mapping[str, str]) -> Schema:
    """One of several models, chosen by `type`, so that a wrong key is refused with its place."""
    chosen = [
        {"if": {"properties": {"type": {"const": kind}}}, "then": {"$ref": ref}}
        for kind, ref in kinds.items()
    ]
    named = {"name": {"type": "string"}, "type": {"enum": sorted(kinds)}}
    return {"type": "object", "required": ["name", "type"], "properties": named, "allOf": chosen}


def _with_login(model: Schema) -> Schema:
    """A model whose dsn may be given in parts, and whose password is in a Secret."""
    secret = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {
            "name": _NAME,
            "passwordKey": _KEY | {"description": "`password` if it is not given; empty: none."},
            "caKey": _KEY | {"description": "For sslrootcert; sslmode is then verify-full."},
            "certKey": _KEY | {"description": "For sslcert."},
            "keyKey": _KEY | {"description": "For sslkey."},
        },
    }
    modes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
    parts = {
        "host": {"type": "string", "minLength": 1, "description": "Or several, with commas."},
        "port": {"type": ["integer", "string"], "description": "5432; of a pooler 6432."},
        "database": {"type": "string", "minLength": 1},
        "user": {"type": "string", "minLength": 1, "description": "`pgheadroom` if not given."},
        "sslmode": {"enum": modes},
        "parameters": {
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "boolean"]},
            "description": "Other parameters of libpq.",
        },
        "existingSecret": secret,
    }
    required = [key for key in model.get("required", ()) if key != "dsn"]
    return model | {"properties": model["properties"] | parts, "required": required}


def _with_secret(model: Schema) -> Schema:
    """A receiver whose secrets are in a Secret."""
    files = [key for key in model["properties"] if key.endswith("_file")]
    keys = {
        "type": "object",
        "additionalProperties": False,
        "properties": dict.fromkeys(files, _KEY),
        "description": "Which key of the Secret is for which key of the receiver.",
    }
    secret = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {"name": _NAME, "key": _KEY, "keys": keys},
    }
    return model | {"properties": model["properties"] | {"existingSecret": secret}}
