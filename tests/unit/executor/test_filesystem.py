"""mkfs, signatures, mount options and the mount table file."""

from services.executor.filesystem import commands, mounts
from services.executor.runners.base import Mount
from tests.unit.executor.captures import LVM, UTIL_LINUX, capture

ENTRY = Mount("/dev/mapper/vg_a-brick_b", "/var/lib/heketi/mounts/vg_a/brick_b", "xfs", "rw,inode64,noatime,nouuid")
LINE = "/dev/mapper/vg_a-brick_b /var/lib/heketi/mounts/vg_a/brick_b xfs rw,inode64,noatime,nouuid 1 2"


def test_xfs_as_heketi_makes_it_without_discard() -> None:
    assert commands.make_xfs("/dev/x", arbiter=False) == [
        "mkfs.xfs", "-q", "-K", "-i", "size=512", "-n", "size=8192", "/dev/x",
    ]  # fmt: skip
    assert commands.make_xfs("/dev/x", arbiter=True)[3:5] == ["-i", "maxpct=100"]


def test_signatures_by_device() -> None:
    assert commands.parse_signatures(capture(UTIL_LINUX, "blkid-ext4").stdout) == {"/dev/ubdd": "ext4"}
    several = commands.parse_signatures(capture(UTIL_LINUX, "blkid-several").stdout)
    assert several["/dev/ubda"] == "ext4"
    assert several["/dev/ubdd"] == "LVM2_member"
    assert set(several.values()) == {"ext4", "LVM2_member", "xfs"}
    nothing = capture(UTIL_LINUX, "blkid-nothing")
    assert nothing.exit_code == commands.NOTHING_FOUND
    assert commands.parse_signatures(nothing.stdout) == {}


def test_mount_table_of_the_kernel() -> None:
    table = mounts.parse_mountinfo(capture("linux-6.1", "mountinfo").stdout)
    brick = mounts.mounted_at(table, "/run/mm")
    assert brick is not None
    assert brick.source == f"/dev/mapper/vg_{'d' * 32}-brick_{'1' * 32}"
    assert brick.filesystem == "xfs"
    assert {"rw", "noatime", "nouuid", "inode64"} <= set(brick.options.split(","))
    assert mounts.mounted_at(table, "/nowhere") is None


def test_optional_fields_and_escapes_of_the_kernel() -> None:
    line = r"36 35 98:0 /mnt1 /mnt\040two rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue"
    assert mounts.parse_mountinfo(line) == (Mount("/dev/root", "/mnt two", "ext3", "rw,noatime,errors=continue"),)


def test_one_mount_is_found_as_in_the_whole_table() -> None:
    text = capture("linux-6.1", "mountinfo").stdout + (
        "36 35 98:0 / /mnt\\040two rw - ext3 /dev/a rw\n37 36 98:1 / /mnt\\040two rw - xfs /dev/b rw\n"
        "38 35 98:2 / /mnt\\040two/in rw - xfs /dev/c rw\n"
    )
    table = mounts.parse_mountinfo(text)
    for point in (*(entry.mount_point for entry in table), "/nowhere", "/mnt", "/mnt two/i"):
        assert mounts.find_mount(text, point) == mounts.mounted_at(table, point)
    found = mounts.find_mount(text, "/mnt two")
    assert found is not None
    assert found.source == "/dev/b"


def test_options_become_flags_and_data() -> None:
    assert mounts.kernel_flags("rw,inode64,noatime,nouuid") == (0x400, "inode64,nouuid")
    assert mounts.kernel_flags("ro,nosuid,nodev,x-systemd.after=y,nofail") == (0x7, "")


def test_entry_is_written_once_and_in_the_usual_form() -> None:
    text = mounts.with_entry(None, ENTRY)
    assert text == f"{LINE}\n"
    assert mounts.with_entry(text, ENTRY) == text


def test_comments_and_other_entries_stay() -> None:
    others = "# mine\n\n/dev/sdz /data ext4 defaults 0 0\n"
    text = mounts.with_entry(others, ENTRY)
    assert text == f"{others}{LINE}\n"
    assert mounts.without_entries(text, source=ENTRY.source, mount_point=ENTRY.mount_point) == others
    assert mounts.without_entries(others, source=ENTRY.source, mount_point=ENTRY.mount_point) is None
    assert mounts.parse_fstab(text) == (Mount("/dev/sdz", "/data", "ext4", "defaults"), ENTRY)


def test_removal_does_not_take_a_name_that_begins_alike() -> None:
    # Heketi's sed removes every line in which the brick's name occurs.
    longer = Mount(f"{ENTRY.source}0", f"{ENTRY.mount_point}0", "xfs", "rw")
    text = mounts.with_entry(mounts.with_entry(None, ENTRY), longer)
    left = mounts.without_entries(text, source=ENTRY.source, mount_point=ENTRY.mount_point)
    assert mounts.parse_fstab(left) == (longer,)


def test_signature_that_pvcreate_refuses_is_named() -> None:
    assert "ext4 signature detected" in capture(LVM, "pvcreate-signature").complaint
