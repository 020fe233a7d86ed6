"""What glusterd's restarts and killed agents leave behind on real nodes, and that it goes."""

import pytest

from compose.lab.waiting import wait_until
from tests.e2e.system import System
from tests.e2e.test_growth import REPLICATE, made

pytestmark = pytest.mark.timeout(200)


def test_brick_process_that_glusterd_forgot_does_not_keep_the_brick(system: System) -> None:
    volume = system.create_volume()
    address, path = system.brick_places(volume)[1]
    # As glusterd would start it while the volume is being stopped: it works in the brick, and no volume knows of it.
    wait = "exec -a /usr/sbin/glusterfsd /bin/bash -c 'read -r _ <>/run/nothing' x --brick-name"
    script = f"mkfifo /run/nothing && cd {path} && ({wait} {path} >/dev/null 2>&1 </dev/null &)"
    system.node(address).run(["/bin/bash", "-c", script], check=True)
    system.delete_volume(volume)
    system.shell(address, "rm /run/nothing")


def test_agent_killed_after_an_expansion_moves_the_data_when_it_is_back(system: System) -> None:
    volume = system.create_volume(durability=REPLICATE)
    system.with_mount(volume, "for i in $(seq 40); do echo $i >file$i; done; sync .")
    grown = made(system, system.begin("POST", f"/volumes/{volume['id']}/expand", {"expand_size": 1}))
    address = system.brick_places(volume)[0][0]
    system.kill_agent(address)
    system.restart_agent(address)

    def moved() -> bool:
        status = system.shell(address, f"gluster --mode=script volume rebalance {volume['name']} status || true")
        return status.count("completed") == 3

    wait_until(moved, seconds=60, what="the data to be moved")
    new = system.brick_places(grown)[3:]
    counts = [int(system.shell(address, f"ls {path} | wc -l")) for address, path in new]
    assert counts[0] > 0
    assert len(set(counts)) == 1
    system.delete_volume(grown)
