"""heketi.json and Heketi's environment, as settings of the gateway, and what has become of the rest. Pure.

The environment wins over the file, as in Heketi; a flag of the gateway wins over both.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.heketi.admin import Mode
from gateway.heketi.config_notes import DEFAULT_SSH_BRIDGE, MOCK_SIZE, Told, at, notes

_EXECUTORS = {"": "ssh", "ssh": "ssh", "mock": "mock", "kube": "kubernetes", "kubernetes": "kubernetes"}
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
# Heketi's levels in ours.
_LOG_LEVELS = {
    "none": "error",
    "critical": "error",
    "error": "error",
    "warning": "warning",
    "info": "info",
    "debug": "debug",
}


class ConfigFault(ValueError):  # noqa: N818 - told to people; it is no bug of ours
    """The configuration cannot be used; names the key and its value."""


@dataclass(frozen=True, slots=True)
class HeketiConfig:
    """What a configuration of Heketi means here.

    Attributes:
        flags: Values for flags of the gateway, by the name of the parameter.
        admin_key: Secret of the admin; empty = not given.
        user_key: Secret of the user; empty = not given.
        default_mode: The administrative mode to begin with.
        executor: "mock", "ssh" or "kubernetes".
        from_file: Whether there is a heketi.json, and not only an environment.
        jwt_iat_leeway_s: Seconds that a token may come from the future.
        mock_device_size_gib: Size of a simulated disk.
        notes: One sentence for each key that does nothing here: what replaced it.
    """

    flags: Mapping[str, Any] = field(default_factory=dict)
    admin_key: str = field(default="", repr=False)
    user_key: str = field(default="", repr=False)
    default_mode: Mode = Mode.NORMAL
    executor: str = "ssh"
    from_file: bool = False
    jwt_iat_leeway_s: int = 120
    mock_device_size_gib: int = 500
    notes: tuple[str, ...] = ()


# --- values -----------------------------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a string")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("a whole number")
    return value


def _go_bool(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise TypeError("true or false")
    return text in _TRUE


def _count_or(text: str | None, default: int) -> int:
    """A number that is 0 or more; the default for anything else, as Heketi has it."""
    return int(text) if text and text.isascii() and text.isdigit() else default


def _go_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise TypeError("a whole number") from None


@dataclass(frozen=True, slots=True)
class _Key:
    """A key that means something here.

    Attributes:
        path: Where it stands, with dots.
        flag: The parameter of the gateway that it sets; empty = see `_special`.
        read: Checks the value's type.
        variable: Heketi's variable that wins over it.
        parse: Reads the variable.
        keep: Whether a value says anything; Heketi takes 0 and "" for "the default".
        convert: From Heketi's unit to the parameter's.
    """

    path: str
    flag: str
    read: Callable[[Any], Any]
    variable: str = ""
    parse: Callable[[str], Any] = str
    keep: Callable[[Any], bool] = bool
    convert: Callable[[Any], Any] = lambda value: value


def _any(_value: Any) -> bool:
    return True


_KEYS = (
    _Key("port", "rest", _text, "HEKETI_HTTP_PORT", convert=lambda port: f":{port}"),
    _Key("cert_file", "rest_cert", _text),
    _Key("key_file", "rest_key", _text),
    _Key(
        "glusterfs.loglevel",
        "log_level",
        _text,
        "HEKETI_GLUSTERAPP_LOGLEVEL",
        keep=_LOG_LEVELS.__contains__,
        convert=_LOG_LEVELS.get,
    ),
    _Key("glusterfs.brick_max_size_gb", "brick_max_size", _count),
    _Key("glusterfs.brick_min_size_gb", "brick_min_size", _count),
    _Key("glusterfs.max_bricks_per_volume", "max_bricks_per_volume", _count),
    _Key("glusterfs.average_file_size_kb", "average_file_size", _count),
    _Key(
        "glusterfs.pre_request_volume_options", "pre_request_volume_options", _text, "HEKETI_PRE_REQUEST_VOLUME_OPTIONS"
    ),
    _Key(
        "glusterfs.post_request_volume_options",
        "post_request_volume_options",
        _text,
        "HEKETI_POST_REQUEST_VOLUME_OPTIONS",
    ),
    _Key(
        "glusterfs.zone_checking", "zone_checking", _text, "HEKETI_ZONE_CHECKING", keep={"none", "strict"}.__contains__
    ),
    _Key(
        "glusterfs.max_volumes_per_cluster",
        "max_volumes_per_cluster",
        _count,
        "HEKETI_GLUSTER_MAX_VOLUMES_PER_CLUSTER",
        _go_int,
        convert=lambda count: max(count, 0),  # a negative one means no limit, which is 0 here
    ),
    _Key(
        "glusterfs.auto_create_block_hosting_volume",
        "auto_create_block_hosting_volume",
        _flag,
        "HEKETI_AUTO_CREATE_BLOCK_HOSTING_VOLUME",
        _go_bool,
        keep=_any,
    ),
    _Key(
        "glusterfs.block_hosting_volume_size",
        "block_hosting_volume_size",
        _count,
        "HEKETI_BLOCK_HOSTING_VOLUME_SIZE",
        _go_int,
    ),
    _Key(
        "glusterfs.block_hosting_volume_options",
        "block_hosting_volume_options",
        _text,
        "HEKETI_BLOCK_HOSTING_VOLUME_OPTIONS",
    ),
    _Key(
        "glusterfs.max_inflight_operations",
        "max_inflight_operations",
        _count,
        "HEKETI_MAX_INFLIGHT_OPERATIONS",
        _go_int,
    ),
    _Key("glusterfs.operation_retry_limits.volume_create", "create_retries", _count, keep=lambda count: count > 0),
)
"""The keys that set a flag. Sizes of zero and empty texts are Heketi's defaults, which are ours too."""

# Read elsewhere in this module.
_SPECIAL = frozenset({"jwt.admin.key", "jwt.user.key", "enable_tls", "default_state", "glusterfs.executor"})
_SECTIONS = {"ssh": "sshexec", "kubernetes": "kubeexec"}
_PREALLOC = "HEKETI_BLOCK_VOLUME_DEFAULT_PREALLOC"
_REBALANCE = "HEKETI_GLUSTERAPP_REBALANCE_ON_EXPANSION"
_READ_VARIABLES = frozenset(
    {
        *("HEKETI_ADMIN_KEY", "HEKETI_USER_KEY", "HEKETI_EXECUTOR", "HEKETI_DEFAULT_STATE"),
        *("HEKETI_JWT_IAT_LEEWAY_SECONDS", MOCK_SIZE, _PREALLOC, _REBALANCE),
        *(key.variable for key in _KEYS),
    }
)


def read_config(text: str, environment: Mapping[str, str]) -> HeketiConfig:
    """The settings in a heketi.json and in the environment.

    Args:
        text: Content of the file; empty = only the environment counts.
        environment: Variables of the process.

    Raises:
        ConfigFault: The file is no JSON object, a value has the wrong type, or there is no such executor or mode.
    """
    content = _parsed(text) if text else {}
    if text and not isinstance(content.get("glusterfs"), dict):
        raise ConfigFault("glusterfs: the section is missing")
    flags: dict[str, Any] = {}
    for key in _KEYS:
        value = _value_of(content, key, environment)
        if value is not None and key.keep(value):
            flags[key.flag] = key.convert(value)
    if not _special(content, "enable_tls", _flag, default=False):
        flags.pop("rest_cert", None)
        flags.pop("rest_key", None)
    if _REBALANCE in environment:
        flags["rebalance_on_expansion"] = _from_variable(_REBALANCE, environment[_REBALANCE], _go_bool)
    executor = _executor(environment.get("HEKETI_EXECUTOR") or _special(content, "glusterfs.executor", _text))
    section = f"glusterfs.{_SECTIONS.get(executor, '')}"
    # Heketi takes any word for it, and the default for what it does not know.
    prealloc = environment.get(_PREALLOC) or _special(content, f"{section}.block_prealloc", _text)
    if prealloc in {"full", "no"}:
        flags["block_prealloc"] = prealloc
    keyfile = environment.get("HEKETI_SSH_KEYFILE") or _special(content, "glusterfs.sshexec.keyfile", _text)
    bridged = bool(executor == "ssh" and keyfile)
    if bridged:
        flags["ssh_bridge"] = DEFAULT_SSH_BRIDGE
    return HeketiConfig(
        flags=flags,
        admin_key=environment.get("HEKETI_ADMIN_KEY") or _special(content, "jwt.admin.key", _text),
        user_key=environment.get("HEKETI_USER_KEY") or _special(content, "jwt.user.key", _text),
        default_mode=_mode(environment.get("HEKETI_DEFAULT_STATE") or _special(content, "default_state", _text)),
        executor=executor,
        from_file=bool(text),
        jwt_iat_leeway_s=_count_or(environment.get("HEKETI_JWT_IAT_LEEWAY_SECONDS"), 120),
        mock_device_size_gib=_count_or(environment.get(MOCK_SIZE), 0) or 500,
        notes=tuple(
            notes(
                Told(
                    content=content,
                    environment=environment,
                    executor=executor,
                    section=section,
                    bridged=bridged,
                    read={**dict.fromkeys(_SPECIAL, _any), **{key.path: key.keep for key in _KEYS}},
                    read_variables=_READ_VARIABLES,
                )
            )
        ),
    )


def _parsed(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text, object_pairs_hook=_any_case)
    except (ValueError, RecursionError) as error:
        raise ConfigFault(f"it is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigFault("it is no JSON object")
    return content


def _any_case(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are looked up in any case, as Go does; all that Heketi knows are in lower case."""
    return {name.lower(): value for name, value in pairs}


def _value_of(content: Mapping[str, Any], key: _Key, environment: Mapping[str, str]) -> Any:
    if environment.get(key.variable):
        return _from_variable(key.variable, environment[key.variable], key.parse)
    return _checked(content, key.path, key.read)


def _special(content: Mapping[str, Any], path: str, read: Callable[[Any], Any], default: Any = "") -> Any:
    value = _checked(content, path, read)
    return default if value is None else value


def _checked(content: Mapping[str, Any], path: str, read: Callable[[Any], Any]) -> Any:
    value = at(content, path)
    if value is None:
        return None
    try:
        return read(value)
    except TypeError as error:
        raise ConfigFault(f"{path}: {value!r} is not {error}") from None


def _from_variable(variable: str, text: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(text)
    except TypeError as error:
        raise ConfigFault(f"{variable}: {text!r} is not {error}") from None


def _mode(name: str) -> Mode:
    if name and name not in {mode.value for mode in Mode}:
        raise ConfigFault(f"unable to set admin state: unknown admin state name: {name}")
    return Mode(name or "normal")


def _executor(name: str) -> str:
    if name not in _EXECUTORS:
        raise ConfigFault(f"invalid executor: {name}; known are {', '.join(sorted(filter(None, _EXECUTORS)))}")
    return _EXECUTORS[name]
