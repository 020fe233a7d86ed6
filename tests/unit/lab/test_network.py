from compose.lab import network


def test_every_node_gets_a_tap_on_both_bridges() -> None:
    lines = network.bridge_commands([1, 2])
    for tap, bridge in (("node1", "data0"), ("node1c", "control0"), ("node2", "data0"), ("node2c", "control0")):
        assert f"link set {tap} master {bridge}" in lines
        assert lines.index(f"tuntap add {tap} mode tap") < lines.index(f"link set {tap} master {bridge}")
    assert "address add 10.77.0.1/24 dev data0" in lines


def test_a_partition_touches_only_the_data_network_and_heal_undoes_it() -> None:
    cut, healed = network.partition_commands(3), network.heal_commands(3)
    assert cut == ["link set node3 nomaster", "link set node3 arp off"]
    assert healed == ["link set node3 arp on", "link set node3 master data0"]


def test_hardware_addresses_differ_by_node_and_network() -> None:
    addresses = {network.mac_address(index, control=control) for index in range(1, 21) for control in (True, False)}
    assert len(addresses) == 40


def test_interface_names_fit_the_kernels_limit() -> None:
    assert max(len(network.control_tap(index)) for index in range(1, 21)) <= 15


def test_every_offload_is_switched_off_inside_the_namespace() -> None:
    argv = network.offload_argv("one", "node1")
    assert argv[:5] == ["nsenter", "--net=/run/netns/one", "--", "ethtool", "-K"]
    assert argv[5:] == ["node1", "tx", "off", "tso", "off", "gso", "off", "gro", "off", "sg", "off"]
