"""heketi.json and Heketi's environment: what each key means here, and what is said of the others."""

import json
from typing import Any

import pytest

from gateway.heketi.admin import Mode
from gateway.heketi.config import ConfigFault, read_config

# As Heketi ships it, comments included.
SHIPPED = {
    "_port_comment": "Heketi Server Port Number",
    "port": "8080",
    "enable_tls": False,
    "cert_file": "",
    "key_file": "",
    "use_auth": False,
    "jwt": {"_admin": "Admin has access to all APIs", "admin": {"key": "My Secret"}, "user": {"key": "My User Secret"}},
    "backup_db_to_kube_secret": False,
    "profiling": False,
    "glusterfs": {
        "_executor_comment": ["Execute plugin"],
        "executor": "mock",
        "sshexec": {"keyfile": "path/to/private_key", "user": "sshuser", "port": "22", "fstab": "/etc/fstab"},
        "kubeexec": {"host": "https://kubernetes.host:8443", "namespace": "default"},
        "db": "/var/lib/heketi/heketi.db",
        "refresh_time_monitor_gluster_nodes": 120,
        "start_time_monitor_gluster_nodes": 10,
        "loglevel": "debug",
        "auto_create_block_hosting_volume": True,
        "block_hosting_volume_size": 500,
        "block_hosting_volume_options": "group gluster-block",
        "pre_request_volume_options": "",
        "post_request_volume_options": "",
    },
}


_PREALLOC = "HEKETI_BLOCK_VOLUME_DEFAULT_PREALLOC"


def config(changes: dict[str, Any] | None = None, **glusterfs: Any) -> str:
    return json.dumps({**SHIPPED, **(changes or {}), "glusterfs": {**SHIPPED["glusterfs"], **glusterfs}})  # type: ignore[dict-item]


def test_the_file_that_heketi_ships() -> None:
    found = read_config(config(), {})
    assert found.flags == {
        "rest": ":8080",
        "log_level": "debug",
        "auto_create_block_hosting_volume": True,
        "block_hosting_volume_size": 500,
        "block_hosting_volume_options": "group gluster-block",
    }
    assert (found.admin_key, found.user_key, found.default_mode, found.executor) == (
        "My Secret",
        "My User Secret",
        Mode.NORMAL,
        "mock",
    )
    told = [note.split(" ")[0] for note in found.notes]
    assert told == [
        "use_auth",
        "backup_db_to_kube_secret",
        "profiling",
        "glusterfs.sshexec",
        "glusterfs.kubeexec",
        "glusterfs.db",
        "glusterfs.refresh_time_monitor_gluster_nodes",
        "glusterfs.start_time_monitor_gluster_nodes",
        "glusterfs.executor",
    ]
    assert "My Secret" not in repr(found)


def test_executor_ssh_with_a_key_means_the_ssh_bridge() -> None:
    found = read_config(config(executor="ssh"), {})
    assert found.flags["ssh_bridge"] == "127.0.0.1:7411"
    (note,) = [note for note in found.notes if note.startswith("glusterfs.sshexec")]
    assert "brickyard-ssh-bridge at 127.0.0.1:7411" in note
    assert read_config("", {"HEKETI_EXECUTOR": "ssh", "HEKETI_SSH_KEYFILE": "/k"}).flags == {
        "ssh_bridge": "127.0.0.1:7411"
    }
    assert "ssh_bridge" not in read_config(config(executor="ssh", sshexec={}), {}).flags
    assert "ssh_bridge" not in read_config(config(), {}).flags


@pytest.mark.parametrize(
    ("key", "value", "flag", "meant"),
    [
        ("brick_max_size_gb", 1024, "brick_max_size", 1024),
        ("brick_min_size_gb", 2, "brick_min_size", 2),
        ("max_bricks_per_volume", 33, "max_bricks_per_volume", 33),
        ("average_file_size_kb", 128, "average_file_size", 128),
        ("zone_checking", "strict", "zone_checking", "strict"),
        ("max_volumes_per_cluster", -1, "max_volumes_per_cluster", 0),
        ("max_volumes_per_cluster", 7, "max_volumes_per_cluster", 7),
        ("max_inflight_operations", 64, "max_inflight_operations", 64),
        ("operation_retry_limits", {"volume_create": 2}, "create_retries", 2),
        ("pre_request_volume_options", "a b,c d", "pre_request_volume_options", "a b,c d"),
    ],
)
def test_keys_that_set_a_flag(key: str, value: Any, flag: str, meant: Any) -> None:
    assert read_config(config(**{key: value}), {}).flags[flag] == meant


@pytest.mark.parametrize(
    ("key", "value", "flag"),
    [
        ("brick_max_size_gb", 0, "brick_max_size"),
        ("max_inflight_operations", 0, "max_inflight_operations"),
        ("operation_retry_limits", {"volume_create": 0}, "create_retries"),
        ("zone_checking", "sometimes", "zone_checking"),
        ("loglevel", "loud", "log_level"),
    ],
)
def test_values_that_stand_for_the_default(key: str, value: Any, flag: str) -> None:
    assert flag not in read_config(config(**{key: value}), {}).flags


@pytest.mark.parametrize(
    ("variable", "text", "flag", "meant"),
    [
        ("HEKETI_HTTP_PORT", "9090", "rest", ":9090"),
        ("HEKETI_GLUSTERAPP_LOGLEVEL", "critical", "log_level", "error"),
        ("HEKETI_AUTO_CREATE_BLOCK_HOSTING_VOLUME", "f", "auto_create_block_hosting_volume", False),
        ("HEKETI_BLOCK_HOSTING_VOLUME_SIZE", "100", "block_hosting_volume_size", 100),
        ("HEKETI_GLUSTER_MAX_VOLUMES_PER_CLUSTER", "-5", "max_volumes_per_cluster", 0),
        ("HEKETI_MAX_INFLIGHT_OPERATIONS", "3", "max_inflight_operations", 3),
        ("HEKETI_ZONE_CHECKING", "strict", "zone_checking", "strict"),
        ("HEKETI_POST_REQUEST_VOLUME_OPTIONS", "x y", "post_request_volume_options", "x y"),
        ("HEKETI_BLOCK_VOLUME_DEFAULT_PREALLOC", "no", "block_prealloc", "no"),
        ("HEKETI_GLUSTERAPP_REBALANCE_ON_EXPANSION", "false", "rebalance_on_expansion", False),
    ],
)
def test_variables_win(variable: str, text: str, flag: str, meant: Any) -> None:
    assert read_config(config(), {variable: text}).flags[flag] == meant
    assert read_config("", {variable: text}).flags[flag] == meant


def test_secrets_mode_and_executor_from_the_environment() -> None:
    found = read_config(
        config(),
        {
            "HEKETI_ADMIN_KEY": "other admin",
            "HEKETI_USER_KEY": "other user",
            "HEKETI_DEFAULT_STATE": "read-only",
            "HEKETI_EXECUTOR": "kubernetes",
        },
    )
    assert (found.admin_key, found.user_key) == ("other admin", "other user")
    assert (found.default_mode, found.executor) == (Mode.READ_ONLY, "kubernetes")


def test_tls_needs_to_be_turned_on() -> None:
    files = {"cert_file": "heketi.crt", "key_file": "heketi.key"}
    assert "rest_cert" not in read_config(config(files), {}).flags
    flags = read_config(config({**files, "enable_tls": True}), {}).flags
    assert (flags["rest_cert"], flags["rest_key"]) == ("heketi.crt", "heketi.key")


def test_a_key_that_nobody_knows_is_told() -> None:
    assert read_config(config(brick_colour="red"), {}).notes[-2] == (
        "glusterfs.brick_colour is not known, and does nothing"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "it is no JSON: "),
        ("[" * 100_000, "it is no JSON: "),
        ("[]", "it is no JSON object"),
        ("{}", "glusterfs: the section is missing"),
        (config({"port": 8080}), "port: 8080 is not a string"),
        (config(brick_max_size_gb="4"), "glusterfs.brick_max_size_gb: '4' is not a whole number"),
        (config(executor="carrier pigeon"), "invalid executor: carrier pigeon"),
        (config({"default_state": "asleep"}), "unknown admin state name: asleep"),
    ],
)
def test_what_cannot_be_used_is_told(text: str, told: str) -> None:
    with pytest.raises(ConfigFault, match=told):
        read_config(text, {})


def test_a_variable_that_cannot_be_used_is_told() -> None:
    with pytest.raises(ConfigFault, match="HEKETI_BLOCK_HOSTING_VOLUME_SIZE: 'much' is not a whole number"):
        read_config(config(), {"HEKETI_BLOCK_HOSTING_VOLUME_SIZE": "much"})


# --- what is told of the rest -----------------------------------------------------------------------------------------


def test_settings_of_the_executor_that_is_used_are_told_by_name() -> None:
    section = {
        "block_prealloc": "no",
        "snapshot_limit": 3,
        "xfs_sw": 0,
        "lv_chunksize": "256K",
        "gluster_cli_timeout": 9,
    }
    found = read_config(config(executor="kubernetes", kubeexec=section, sshexec={"xfs_su": 4}), {})
    assert found.flags["block_prealloc"] == "no"
    told = [note for note in found.notes if note.startswith("glusterfs.kubeexec.")]
    assert [note.split(" ")[0].rpartition(".")[2] for note in told] == ["gluster_cli_timeout", "snapshot_limit"]
    assert told[0].endswith("--node-timeout-seconds")
    assert not any("xfs_su" in note for note in found.notes)
    assert read_config(config(executor="kubernetes", kubeexec=section), {_PREALLOC: "full"}).flags[
        "block_prealloc"
    ] == ("full")


def test_a_value_that_heketi_does_not_take_either_is_told() -> None:
    found = read_config(config(loglevel="chatty", zone_checking="maybe"), {})
    assert [note for note in found.notes if "means nothing" in note] == [
        "glusterfs.loglevel: 'chatty' means nothing to Heketi either; the default holds",
        "glusterfs.zone_checking: 'maybe' means nothing to Heketi either; the default holds",
    ]
    assert not {"log_level", "zone_checking"} & set(found.flags)


def test_a_variable_that_nobody_knows_is_told() -> None:
    theirs = {"HEKETI_CLI_SERVER": "x", "HEKETI_SERVICE_HOST": "10.0.0.1", "HEKETI_PORT_8080_TCP": "y", "HOME": "/"}
    found = read_config("", {**theirs, "HEKETI_NONSENSE": "1", "HEKETI_ADMIN_KEY": "k", "HEKETI_HTTP_PORT": "1"})
    assert found.notes == ("HEKETI_NONSENSE is not known, and does nothing",)
