"""What can go wrong with the lab, and the exit code that says so."""

EXIT_ERROR = 1
EXIT_CANNOT_RUN = 3
EXIT_CHANNEL = 125


class LabError(Exception):
    """The lab failed at something it should be able to do; the text says what, in one line and a log tail."""

    exit_code = EXIT_ERROR


class TimeLimitError(LabError):
    """Something did not happen in time."""


class CannotRunHereError(LabError):
    """This machine cannot run the lab; the text says why and what to do."""

    exit_code = EXIT_CANNOT_RUN


class ChannelError(LabError):
    """The exec channel of a node does not answer, broke, or could not start the command."""

    exit_code = EXIT_CHANNEL


class CommandNotStartedError(ChannelError):
    """The node answered, but could not start the command.

    Attributes:
        exit_code: 127 when there is no such program, 126 when it cannot be executed, as a shell has it.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP came; raised only where everything made so far can be removed.

    Attributes:
        signum: the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum
