"""What the dialect itself refuses, and the texts that several refusals share. Pure."""

HELLO = b"Hello from Heketi"
PENDING_CONFLICT = "The target exists, contains other items, or is in use."
NO_REPLACEMENT = "No Replacement was found for resource requested to be removed"
# Heketi sent no Retry-After; its clients honour one, and volumes take seconds.
RETRY_AFTER_S = 5

# What ozzo-validation says, and Heketi's own rules.
BLANK = "cannot be blank"
NOT_POSITIVE = "must be no less than 1"
BAD_FORMAT = "must be in a valid format"
BAD_VALUE = "must be a valid value"


class Refused(Exception):  # noqa: N818 - it is an answer, not a fault
    """A request is answered with an error.

    Attributes:
        status: HTTP status.
        text: Body without the final newline.
        retry_after_s: When to come again, in seconds; None = no such hint.
    """

    def __init__(self, status: int, text: str, retry_after_s: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.retry_after_s = retry_after_s


def unknown_path() -> Refused:
    """No route has such a path."""
    return Refused(404, "Invalid path or request")


def unknown_id() -> Refused:
    """The path names an object that does not exist."""
    return Refused(404, "Id not found")


def no_pending_operation(operation_id: str) -> Refused:
    """The operation does not exist, has ended, or is of a kind that Heketi has none for."""
    return Refused(404, f"Id not found: {operation_id}")


def unparsable() -> Refused:
    """The body is no JSON, or a field has the wrong type."""
    return Refused(422, "request unable to be parsed")


def unparsable_because(why: str) -> Refused:
    """The same, told with the reason and as 400: Heketi's answer on two routes."""
    return Refused(400, f"request unable to be parsed: {why}")


def under_maintenance() -> Refused:
    """The administrative mode does not take changes, or not from there."""
    return Refused(503, "Service disabled for maintenance")


def foreign_logger() -> Refused:
    """A log level was given for a logger that does not exist."""
    return Refused(422, 'Only "glusterfs" logger may be modified')


def unknown_log_level(level: str) -> Refused:
    """There is no such log level."""
    return Refused(422, f"invalid log level: {level}")


def body_too_large(limit: int) -> Refused:
    """The body is above our limit; Heketi has none."""
    return Refused(413, f"request body is larger than {limit} bytes")


def invalid(errors: str) -> Refused:
    """The fields of the body break their rules."""
    return Refused(400, f"validation failed: {errors}")


def no_token() -> Refused:
    """No Authorization header."""
    return Refused(401, "Required authorization token not found")


def bad_authorization() -> Refused:
    """An Authorization header that is not a bearer token."""
    return Refused(400, "Authorization header format must be Bearer {token}")


def bad_token(why: str) -> Refused:
    """A token that does not hold."""
    return Refused(401, f"Invalid JWT token: {why}")


def bad_qsh() -> Refused:
    """A token for another request."""
    return Refused(401, "Invalid qsh claim in token")


def not_admin() -> Refused:
    """The user role asks for more than /volumes."""
    return Refused(401, "Administrator access required")


def database_volume() -> Refused:
    """The volume that held Heketi's own database."""
    return Refused(409, "Cannot delete volume containing the Heketi database")


def cluster_not_in_request(cluster_id: str) -> Refused:
    """A volume is to be made in a cluster that does not exist."""
    return Refused(400, f"Cluster id {cluster_id} not found")


def no_clusters() -> Refused:
    """A volume is to be made, and there is no cluster at all."""
    return Refused(400, "No clusters configured")


def volume_too_small(size_gib: int, minimum_kib: int) -> Refused:
    """A volume below the smallest bricks that its durability needs."""
    return Refused(
        400,
        f"Requested volume size ({size_gib} GB) is smaller than the minimum supported volume size ({minimum_kib})",
    )


def crashed(request_id: str) -> Refused:
    """Our own fault. Heketi sent a stack trace; ours is in the log."""
    return Refused(500, f"internal error; the gateway's log has the details under request id {request_id}")


def explained(first: str, message: str) -> str:
    """Heketi's text, and on further lines what `message` says beyond it."""
    rest = message.removeprefix(first).lstrip(":; \n").rstrip()
    return f"{first}\n{rest}" if rest else first
