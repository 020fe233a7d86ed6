import json

from brickyard.topology.v1 import cluster_pb2, device_pb2, node_pb2, volume_pb2
from gateway.heketi import render
from services.common.units import GIB, KIB, MIB
from tests.unit.gateway_heketi.client import Client
from tests.unit.gateway_heketi.topology_steps import cluster, cluster_of_three, volume


def device(**fields: object) -> device_pb2.Device:
    values = {"id": "d1", "path": "/dev/sdb", "state": device_pb2.DEVICE_STATE_ONLINE, "total_bytes": 500 * GIB}
    return device_pb2.Device(**{**values, **fields})  # type: ignore[arg-type]


def brick(brick_id: str) -> volume_pb2.Brick:
    return volume_pb2.Brick(
        id=brick_id, path=f"/p/{brick_id}", device_id="d1", node_id="n1", volume_id="v1", size_bytes=10 * GIB
    )


def test_cluster() -> None:
    message = cluster_pb2.Cluster(id="c1", file_enabled=True, node_ids=["b", "a"], volume_ids=["v"])
    assert (
        render.cluster(message) == b'{"id":"c1","nodes":["a","b"],"volumes":["v"],"block":false,"file":true,'
        b'"blockvolumes":[]}\n'
    )
    assert render.cluster_list([]) == b'{"clusters":[]}\n'
    assert (
        render.cluster_list([cluster_pb2.Cluster(id="b"), cluster_pb2.Cluster(id="a")]) == b'{"clusters":["a","b"]}\n'
    )


def test_device_without_what_is_empty() -> None:
    assert (
        render.device(device())
        == b'{"name":"/dev/sdb","storage":{"total":524288000,"free":524288000,"used":0},"id":"d1",'
        b'"state":"online","bricks":[]}\n'
    )


def test_device_with_everything() -> None:
    message = device(
        tags={"b": "2", "a": "<1>"},
        known_paths=["/dev/sdb", "/dev/disk/by-id/x"],
        pv_uuid="AbC-1",
        state=device_pb2.DEVICE_STATE_FAILED,
        bricks=[brick("b2"), brick("b1")],
    )
    assert (
        render.device(message) == b'{"name":"/dev/sdb","tags":{"a":"\\u003c1\\u003e","b":"2"},'
        b'"storage":{"total":524288000,"free":524288000,"used":0},"id":"d1",'
        b'"paths":["/dev/sdb","/dev/disk/by-id/x"],"pv_uuid":"AbC-1","state":"failed","bricks":['
        b'{"id":"b1","path":"/p/b1","device":"d1","node":"n1","volume":"v1","size":10485760},'
        b'{"id":"b2","path":"/p/b2","device":"d1","node":"n1","volume":"v1","size":10485760}]}\n'
    )


def test_reserved_bytes_are_not_free_and_kib_add_up() -> None:
    storage = json.loads(
        render.device(device(total_bytes=100 * MIB + 1023, used_bytes=10 * MIB, reserved_bytes=5 * MIB + 1))
    )["storage"]
    assert storage == {"total": 102400, "free": 87040, "used": 15360}
    odd = json.loads(render.device(device(total_bytes=10 * KIB, used_bytes=KIB // 2)))["storage"]
    assert odd == {"total": 10, "free": 9, "used": 1}


def test_node() -> None:
    message = node_pb2.Node(
        id="n1",
        cluster_id="c1",
        zone=2,
        manage_hostnames=["m"],
        storage_hostnames=["s", "t"],
        state=node_pb2.NODE_STATE_OFFLINE,
        tags={"x": "y"},
    )
    shown = render.node(message, [device(id="d2"), device()])
    assert shown.startswith(
        b'{"zone":2,"hostnames":{"manage":["m"],"storage":["s","t"]},"cluster":"c1","tags":{"x":"y"},"id":"n1",'
        b'"state":"offline","devices":[{"name":"/dev/sdb","storage"'
    )
    assert [each["id"] for each in json.loads(shown)["devices"]] == ["d1", "d2"]


def test_volume() -> None:
    message = volume_pb2.Volume(
        id="v1",
        name="data",
        cluster_id="c1",
        size_bytes=10 * GIB,
        durability=volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_NONE),
        options=["", ""],
        snapshot_factor=1,
        bricks=[brick("b2"), brick("b1")],
    )
    shown = render.volume(message, ["s4", "s3", "s1"])
    assert shown.startswith(
        b'{"size":10,"name":"data","durability":{"type":"none","replicate":{},"disperse":{}},'
        b'"glustervolumeoptions":["",""],"snapshot":{"enable":false,"factor":1},"id":"v1","cluster":"c1",'
        b'"mount":{"glusterfs":{"hosts":["s4","s3","s1"],"device":"s4:data","options":{"backup-volfile-servers":"s3,s1"}}},'
        b'"blockinfo":{},"bricks":[{"id":"b1",'
    )


def test_volume_with_everything_on_one_host() -> None:
    message = volume_pb2.Volume(
        id="v1",
        name="data",
        cluster_id="c1",
        size_bytes=GIB,
        durability=volume_pb2.Durability(
            type=volume_pb2.DURABILITY_TYPE_DISPERSE, replica_count=3, data_count=4, redundancy_count=2
        ),
        gid=2000,
        options=["", "a b", ""],
        block=True,
        snapshot_enabled=True,
        snapshot_factor=1.1,
    )
    assert (
        render.volume(message, ["s1"])
        == b'{"size":1,"name":"data","durability":{"type":"disperse","replicate":{"replica":3},'
        b'"disperse":{"data":4,"redundancy":2}},"gid":2000,"glustervolumeoptions":["","a b",""],"block":true,'
        b'"snapshot":{"enable":true,"factor":1.1},"id":"v1","cluster":"c1","mount":{"glusterfs":{"hosts":["s1"],'
        b'"device":"s1:data","options":{"backup-volfile-servers":""}}},"blockinfo":{},"bricks":[]}\n'
    )


def test_options_that_are_empty_are_left_out() -> None:
    message = volume_pb2.Volume(
        durability=volume_pb2.Durability(type=volume_pb2.DURABILITY_TYPE_REPLICATE), snapshot_factor=1
    )
    assert b"glustervolumeoptions" not in render.volume(message, ["s1"])


def test_tags_are_sorted_and_may_be_none() -> None:
    assert render.tags({"b": "", "a": "\u00e9"}) == '{"a":"\u00e9","b":""}\n'.encode()
    assert render.tags({}) == b"{}\n"


def test_statuses_and_types_on_the_wire(client: Client) -> None:
    made = client.post("/clusters", "{}")
    assert made.status_code == 201
    assert made.headers["content-type"] == "application/json; charset=UTF-8"
    assert made.json()["file"] is made.json()["block"] is False
    cluster_id = made.json()["id"]
    flags = client.post(f"/clusters/{cluster_id}/flags", '{"FILE":true}')
    assert (flags.status_code, flags.content) == (200, b"")
    assert flags.headers["content-type"] == "application/json; charset=UTF-8"
    shown = client.get(f"/clusters/{cluster_id}").json()
    assert (shown["file"], shown["block"]) == (True, False)
    gone = client.delete(f"/clusters/{cluster_id}")
    assert (gone.status_code, gone.content) == (200, b"")
    assert "content-type" not in gone.headers


def test_names_of_volumes(client: Client) -> None:
    cluster_of_three(client)
    made = volume(client)
    assert client.get(f"/volumes/{made}").json()["name"] == f"vol_{made}"
    assert client.get("/volumes").json() == {"volumes": [made]}


def test_tags_over_rest(client: Client) -> None:
    _, nodes, devices = cluster_of_three(client)
    for path in (f"/nodes/{nodes[0]}", f"/devices/{devices[0]}"):
        assert client.post(f"{path}/tags", '{"tags":{"b":"2","a":"1"},"change_type":"set"}').content == (
            b'{"a":"1","b":"2"}\n'
        )
        assert client.post(f"{path}/tags", '{"tags":{"a":"x"},"change_type":"update"}').json() == {"a": "x", "b": "2"}
        assert client.get(path).json()["tags"] == {"a": "x", "b": "2"}
        assert client.post(f"{path}/tags", '{"tags":{"b":"?"},"change_type":"delete"}').json() == {"a": "x"}
        assert client.post(f"{path}/tags", '{"change_type":"set"}').content == b"{}\n"
        assert "tags" not in client.get(path).json()


def test_clusters_are_listed_in_order(client: Client) -> None:
    made = sorted(cluster(client) for _ in range(5))
    assert client.get("/clusters").json() == {"clusters": made}
