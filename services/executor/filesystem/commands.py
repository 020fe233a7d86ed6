"""Command lines for file systems and signatures. Pure."""

# Name size and inode size as Heketi makes them; room for gluster's extended attributes inside the inode.
_INODE_SIZE = "size=512"
_ARBITER_INODES = "maxpct=100"  # an arbiter holds nothing but inodes
_NAMING = "size=8192"
MAKE_TIMEOUT_S = 600.0
SIGNATURE_TIMEOUT_S = 60.0
# blkid's exit code for "nothing found".
NOTHING_FOUND = 2


def make_xfs(device: str, *, arbiter: bool, tiny: bool = False) -> list[str]:
    """Makes the file system of a brick. A thin LV has nothing to discard yet, hence -K, which saves its time.

    Args:
        device: The thin LV.
        arbiter: Whether it holds inodes only.
        tiny: Whether it is smaller than mkfs wants to make; earlier versions of mkfs neither refuse nor know the flag.
    """
    inodes = _ARBITER_INODES if arbiter else _INODE_SIZE
    return ["mkfs.xfs", *(["--unsupported"] if tiny else []), "-q", "-K", "-i", inodes, "-n", _NAMING, device]


def says_too_small(complaint: str) -> bool:
    """Whether mkfs refuses a size that the kernel supports: since 5.19 it makes none below 300 MB unless told to.

    An arbiter brick, which holds names only, is below that for all but large volumes.
    """
    return "must be larger than 300MB" in complaint


def probe_signatures(*devices: str) -> list[str]:
    """Tells what is on devices, as key=value blocks; exits with NOTHING_FOUND when there is nothing on any of them."""
    return ["blkid", "-p", "-o", "export", *devices]


def wipe_signatures(device: str) -> list[str]:
    """Removes every signature of a device: whatever was on it cannot be found any more."""
    return ["wipefs", "--all", device]


def parse_signatures(text: str) -> dict[str, str]:
    """The kind of content by device, e.g. {"/dev/sdb": "ext4"}, from blkid's export format."""
    found: dict[str, str] = {}
    device = ""
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key == "DEVNAME":
            device = value
        elif key in {"TYPE", "PTTYPE"} and device:
            found.setdefault(device, value)
    return found
