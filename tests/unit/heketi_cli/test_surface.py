"""Every command of heketi-cli with its flags, their defaults and short names: what scripts count on."""

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.cli.heketi_cli.__main__ import GLOBAL_FLAGS, ROOT, run
from gateway.cli.heketi_cli.arguments import Command, Flag, UsageFault, parse
from tests.unit.heketi_cli.conftest import Run
from tests.unit.heketi_cli.fakes import FakeServer

_CREATE_DURABILITY = "durability=replicate replica:int=3 disperse-data:int=4 redundancy:int=2 snapshot-factor:float=1.0"
# Command, its arguments, its flags as NAME[,SHORT][:KIND][=DEFAULT]; a flag is a string unless it says otherwise.
_TABLE = f"""
blockvolume create      |                     | size:int=0 name ha:int=0 auth:bool=False clusters
blockvolume delete      | ID                  |
blockvolume expand      | [ID]                | blockvolume new-size:int=0
blockvolume info        | ID                  |
blockvolume list        |                     |
brick evict             | ID                  | expert-option-disable-heal-check:bool=False
cluster create          |                     | block:bool=True file:bool=True
cluster delete          | ID                  |
cluster info            | ID                  |
cluster list            |                     |
cluster setflags        | ID                  | block file
cluster getdiskstatus   | ID                  |
cluster getvolmaxsize   | ID                  | {_CREATE_DURABILITY}
cluster querydevices    | ID                  |
db check                |                     |
db dump                 |                     |
device add              |                     | name node destroy-existing-data:bool=False
device delete           | ID                  | force-forget:bool=False
device disable          | ID                  |
device enable           | ID                  |
device info             | ID                  |
device remove           | ID                  | expert-option-disable-heal-check:bool=False
device resync           | ID                  | cluster:bool=False
device rmtags           | ID TAG...           | all:bool=False
device settags          | ID TAG:VALUE...     | exact,e:bool=False
loglevel get            |                     |
loglevel set            | LEVEL               |
node add                |                     | zone:int=0 cluster management-host-name storage-host-name
node delete             | ID                  |
node disable            | ID                  |
node enable             | ID                  |
node info               | ID                  |
node list               |                     |
node remove             | ID                  |
node rmtags             | ID TAG...           | all:bool=False
node settags            | ID TAG:VALUE...     | exact,e:bool=False
server mode get         |                     |
server mode set         | normal\\|local-client\\|read-only |
server operations cleanup | [ID...]           |
server operations info  | [ID]                |
server operations list  |                     |
server state examine gluster |                |
setup-openshift-heketi-storage | | listfile=heketi-storage.json image=heketi/heketi:dev durability=replicate \
replica:int=3 gluster-volume-options append-volume-options node-selector
topology info           |                     | template,T
topology load           |                     | json,j
volume clone            | ID                  | name
volume create           |                     | size:int=0 name {_CREATE_DURABILITY} gid:int=0 clusters \
gluster-volume-options block:bool=False persistent-volume:bool=False persistent-volume-endpoint persistent-volume-file
volume delete           | ID                  |
volume endpoint patch   | ID                  |
volume expand           | [ID]                | volume expand-size:int=0
volume info             | ID                  |
volume list             |                     |
volume set-block-hosting-restriction | locked\\|unlocked ID |
"""
_GLOBAL = "server,s secret user json:bool=False insecure-tls,I:bool=False tls-cert,C:list=()"
_ALIASES = {
    "device rmtags": ("deltags", "removetags"),
    "node rmtags": ("deltags", "removetags"),
    "setup-openshift-heketi-storage": ("setup-heketi-db-storage", "setup-kubernetes-heketi-storage"),
}


def rows() -> Iterator[tuple[str, str, list[str]]]:
    for line in _TABLE.strip().splitlines():
        path, arguments, flags = (part.strip() for part in line.replace("\\|", "\0").split("|"))
        yield path, arguments.replace("\0", "|"), flags.split()


def leaves(group: Command = ROOT, path: tuple[Command, ...] = ()) -> Iterator[tuple[Command, ...]]:
    for child in group.commands:
        if child.commands:
            yield from leaves(child, (*path, child))
        else:
            yield (*path, child)


LEAVES = {" ".join(each.name for each in path): path[-1] for path in leaves()}


def spelled(flag: Flag) -> str:
    kind = "" if flag.kind == "string" else f":{flag.kind}"
    default = "" if flag.default == "" and not kind else f"={flag.default}"
    return f"{flag.name}{',' + flag.short if flag.short else ''}{kind}{default}"


def test_there_are_these_commands_and_no_others() -> None:
    assert sorted(LEAVES) == sorted(path for path, _arguments, _flags in rows())


@pytest.mark.parametrize(("path", "arguments", "flags"), list(rows()), ids=[each[0] for each in rows()])
def test_flags_arguments_and_help(
    path: str, arguments: str, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = LEAVES[path]
    assert sorted(spelled(each) for each in command.flags) == sorted(flags)
    assert command.arguments == arguments
    assert command.aliases == _ALIASES.get(path, ())
    for word in ("--help", "-h"):
        assert run([*path.split(), word]) == 0
        shown = capsys.readouterr().out
        assert f"Usage:\n  heketi-cli {path} " in shown
        assert f"  $ heketi-cli {path.split(maxsplit=1)[0].replace('openshift', 'kubernetes')}" in shown
        assert "Global Flags:" in shown
        for flag in command.flags:
            assert f"--{flag.name}" in shown
            assert flag.usage.strip()


def test_flags_of_all_commands() -> None:
    assert sorted(map(spelled, GLOBAL_FLAGS)) == sorted(_GLOBAL.split())
    assert [spelled(each) for each in ROOT.flags] == ["version,v:bool=False"]


def test_the_aliases_do_the_same() -> None:
    for alias in _ALIASES["node rmtags"]:
        assert parse(ROOT, GLOBAL_FLAGS, ["node", alias, "--all", "x"]).command is LEAVES["node rmtags"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--json", "volume", "info", "x"], {"json": True}),
        (["volume", "info", "x", "--json=false"], {"json": False}),
        (["-s", "http://a", "volume", "list"], {"server": "http://a"}),
        (["volume", "list", "-s=http://a", "--user", "u", "--secret=k"], {"server": "http://a", "secret": "k"}),
        (["volume", "list", "-IC", "a.pem,b.pem", "-C", "c.pem"], {"insecure-tls": True, "tls-cert": list("abc")}),
        (["topology", "load", "-j", "t.json"], {"json": "t.json"}),
        (["volume", "create", "--size", "0x10", "--block"], {"size": 16, "block": True}),
    ],
)
def test_how_flags_are_written(argv: list[str], expected: dict[str, Any]) -> None:
    flags = dict(parse(ROOT, GLOBAL_FLAGS, argv).flags)
    flags["tls-cert"] = [each.removesuffix(".pem") for each in flags["tls-cert"]]
    assert {name: flags[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["volume", "list", "--zzz"], "unknown flag: --zzz"),
        (["volume", "list", "-z"], "unknown shorthand flag: 'z' in -z"),
        (["volume", "create", "--size"], "flag needs an argument: --size"),
        (["volume", "list", "-s"], "flag needs an argument: 's' in -s"),
        (
            ["volume", "create", "--size=big"],
            'invalid argument "big" for "--size" flag: strconv.ParseInt: parsing "big": invalid syntax',
        ),
        (
            ["cluster", "create", "--file=yes"],
            'invalid argument "yes" for "--file" flag: strconv.ParseBool: parsing "yes": invalid syntax',
        ),
        (
            ["node", "settags", "-e=x", "n", "a:b"],
            'invalid argument "x" for "-e, --exact" flag: strconv.ParseBool: parsing "x": invalid syntax',
        ),
    ],
)
def test_flags_that_can_not_be(argv: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageFault) as fault:
        parse(ROOT, GLOBAL_FLAGS, argv)
    assert str(fault.value) == told
    assert run(argv) == 255
    assert capsys.readouterr() == ("", f"Error: {told}\n")


def test_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "Available Commands:" in capsys.readouterr().err
    assert run(["volume", "foo"]) == 0
    assert "Usage:\n  heketi-cli volume [command]" in capsys.readouterr().out
    assert run(["foo"]) == 255
    assert capsys.readouterr().err == (
        'Error: unknown command "foo" for "heketi-cli"\nRun \'heketi-cli --help\' for usage.\n'
    )
    for word in ("--version", "-v"):
        assert run([word]) == 0
        assert capsys.readouterr().out.startswith("heketi-cli ")


def claims_of(server: FakeServer) -> dict[str, Any]:
    import jwt  # noqa: PLC0415 - here only

    return jwt.decode(server.tokens[-1].removeprefix("bearer "), options={"verify_signature": False})


def test_the_environment_says_where_and_who(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer({"GET /volumes": {"volumes": []}})
    assert run(server, "volume", "list").code == 0
    assert claims_of(server).get("iss", "") == ""
    assert server.urls[-1] == "http://localhost:8080/volumes"
    monkeypatch.setenv("HEKETI_CLI_SERVER", "http://elsewhere:1/")
    monkeypatch.setenv("HEKETI_CLI_USER", "admin")
    monkeypatch.setenv("HEKETI_CLI_KEY", "key")
    assert run(server, "volume", "list").code == 0
    assert claims_of(server)["iss"] == "admin"
    assert server.urls[-1] == "http://elsewhere:1/volumes"
    # A flag wins; an empty one does not count.
    assert run(server, "volume", "list", "--user", "user", "--server=").code == 0
    assert claims_of(server)["iss"] == "user"
    assert server.urls[-1] == "http://elsewhere:1/volumes"


def test_the_server_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEKETI_CLI_SERVER", "http://127.0.0.1:1")
    assert run(["volume", "list"]) == 255
    assert capsys.readouterr().err == (
        'Error: Get "http://127.0.0.1:1/volumes": dial tcp 127.0.0.1:1: connect: connection refused\n'
    )
