from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from services.common.settings import (
    ServerSettings,
    config_option,
    log_options,
    read_secret,
    server_options,
    server_settings,
)


@click.command(context_settings={"auto_envvar_prefix": "BRICKYARD_TEST"})
@click.option("--lease-seconds", type=float, default=15.0)
@server_options("127.0.0.1:1")
@log_options("test")
@config_option()
def program(lease_seconds: float, log_level: str, **server: object) -> None:
    settings = server_settings(server)
    click.echo(f"{lease_seconds} {log_level} {' '.join(settings.listen)}")


def run(*arguments: str, **environment: str) -> tuple[int, str]:
    result = CliRunner().invoke(program, ["--insecure-plaintext", *arguments], env=environment)
    return result.exit_code, result.output.strip()


def test_flag_over_environment_over_file_over_default(tmp_path: Path) -> None:
    config = tmp_path / "x.toml"
    config.write_text("lease_seconds = 3.0\n")
    assert run() == (0, "15.0 info 127.0.0.1:1")
    assert run("--config", str(config)) == (0, "3.0 info 127.0.0.1:1")
    assert run("--config", str(config), BRICKYARD_TEST_LEASE_SECONDS="4") == (0, "4.0 info 127.0.0.1:1")
    assert run("--config", str(config), "--lease-seconds", "5", BRICKYARD_TEST_LEASE_SECONDS="4")[1].startswith("5.0")


def test_unknown_settings_in_a_file_are_named(tmp_path: Path) -> None:
    config = tmp_path / "x.toml"
    config.write_text("lease_secs = 3\n")
    code, output = run("--config", str(config))
    assert code == 2
    assert "unknown settings lease_secs" in output
    assert "lease_seconds" in output


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    config = tmp_path / "x.toml"
    config.write_text("lease_seconds = \n")
    code, output = run("--config", str(config))
    assert code == 2
    assert "x.toml" in output


def settings(*listen: str, tls_dir: Path | None = None, insecure: bool = False) -> ServerSettings:
    given = {"listen": listen, "tls_dir": tls_dir, "insecure_plaintext": insecure}
    return server_settings({**given, "grace_seconds": 1, "metrics_listen": "", "identity_poll_seconds": 5})


def test_plain_tcp_is_refused_unless_asked_for_by_name(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="--insecure-plaintext by name"):
        settings("127.0.0.1:0")
    assert settings("127.0.0.1:0", insecure=True).tls is None
    assert settings("127.0.0.1:0", tls_dir=tmp_path).tls is not None


def test_a_socket_directory_must_be_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(click.UsageError, match="chmod 700"):
        settings(f"unix:{tmp_path}/x.sock")
    tmp_path.chmod(0o700)
    assert settings(f"unix:{tmp_path}/x.sock").listen == (f"unix:{tmp_path}/x.sock",)
    with pytest.raises(click.UsageError, match="is no directory"):
        settings(f"unix:{tmp_path}/none/x.sock")


def test_secrets_come_from_files_or_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("  s3cret\n")
    assert read_secret(path, "other", "--key") == "s3cret"
    assert read_secret(None, "other", "--key") == "other"
    assert read_secret(None, None, "--key") == ""
    path.write_text("\n")
    with pytest.raises(click.BadParameter, match="is empty"):
        read_secret(path, None, "--key")
    with pytest.raises(click.BadParameter, match="cannot read"):
        read_secret(tmp_path / "none", None, "--key")
