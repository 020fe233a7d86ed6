"""Where things are on a node that has an agent. Pure; imports nothing, so that --help is quick."""

UNIT = "brickyard-agent.service"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"
# The SSH bridge leaves a node alone that has it.
TLS_DIRECTORY = "/etc/brickyard/agent"
CONFIG = "/etc/brickyard/agent.toml"
DEFAULT_PREFIX = "/opt/brickyard"
DEFAULT_STATE = "/var/lib/brickyard/agent"
DEFAULT_FSTAB = "/var/lib/brickyard/fstab"
