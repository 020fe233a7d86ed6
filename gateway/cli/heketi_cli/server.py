"""`heketi-cli server`, `db` and `loglevel`."""

from gateway.cli.heketi_cli import blocks
from gateway.cli.heketi_cli.arguments import Command
from gateway.cli.heketi_cli.call import Call, note, write

_CLEANUP_NOTE = """Note: Operation clean up is a batch operation.
* The results of individual operation clean ups are not reported here.
* Use 'heketi-cli server operations [list|info]' to view operations."""


def _operation_info(call: Call) -> None:
    if call.arguments:
        write(blocks.operation(call.client.get(f"/operations/pending/{call.arguments[0]}")))
    else:
        write(blocks.operation_counts(call.client.get("/operations")))


def _list_operations(call: Call) -> None:
    for found in call.client.get("/operations/pending")["pendingoperations"]:
        write(blocks.operation_line(found))


def _clean_up(call: Call) -> None:
    body = {"operations": list(call.arguments)} if call.arguments else {}
    call.client.change("POST", "/operations/pending/cleanup", body)
    note(_CLEANUP_NOTE)


def _get_mode(call: Call) -> None:
    write(f"{call.client.get('/admin')['state']}\n")


def _set_mode(call: Call) -> None:
    mode = call.first("missing mode argument")
    call.refuse_more_than(1, "Too many arguments provided")
    call.client.change("POST", "/admin", {"state": mode})


def _print(path: str, call: Call) -> None:
    write(call.client.get_text(path).rstrip("\n") + "\n")


def _get_level(call: Call) -> None:
    write(f"{call.client.get('/internal/logging')['loglevel']['glusterfs']}\n")


def _set_level(call: Call) -> None:
    level = call.first("missing log-level argument")
    call.refuse_more_than(1, "Too many arguments provided")
    call.client.change("POST", "/internal/logging", {"loglevel": {"glusterfs": level}})
    write("Server log level updated\n")


SERVER = Command(
    "server",
    "Heketi Server Management",
    commands=(
        Command(
            "operations",
            "Manage the operations of the server",
            commands=(
                Command("info", "Counts the operations, or shows one", run=_operation_info, arguments="[ID]"),
                Command("list", "Lists the operations that have not ended", run=_list_operations),
                Command(
                    "cleanup",
                    "Retries to take back what could not be taken back",
                    run=_clean_up,
                    arguments="[ID...]",
                    example="  $ heketi-cli server operations cleanup",
                ),
            ),
        ),
        Command(
            "mode",
            "Manage the mode of the server",
            commands=(
                Command("get", "Shows the mode", run=_get_mode),
                Command("set", "Sets the mode", run=_set_mode, arguments="normal|local-client|read-only"),
            ),
        ),
        Command(
            "state",
            "Look into the state of the server",
            commands=(
                Command(
                    "examine",
                    "Compares what the server knows with what there is",
                    commands=(
                        Command(
                            "gluster",
                            "Compares with the nodes",
                            run=lambda call: _print("/internal/state/examine/gluster", call),
                        ),
                    ),
                ),
            ),
        ),
    ),
)

DB = Command(
    "db",
    "Heketi Database Management",
    commands=(
        Command("dump", "Prints the database as JSON", run=lambda call: _print("/db/dump", call)),
        Command("check", "Checks the database", run=lambda call: _print("/db/check", call)),
    ),
)

LOG_LEVEL = Command(
    "loglevel",
    "Heketi Log Level",
    commands=(
        Command("get", "Shows the log level of the server", run=_get_level),
        Command("set", "Sets the log level of the server", run=_set_level, arguments="LEVEL"),
    ),
)
