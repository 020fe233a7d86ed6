"""Records against nodes: `domain` compares and plans, `gathering` asks topology and agents, `repair` acts.

For tests, and for anything else that wants to know whether all agree:

    report = await Examiner(topology=stub, agents=agents).examine(cluster_id="")
    assert report.clean, report.differences

`topology` is an aio stub of TopologyService, `agents` is `gateway.clients.Agents`. Through the operator's API it is
OperatorService.Examine, whose answer has the same findings.
"""

from gateway.examination.domain.model import Finding, Report
from gateway.examination.gathering import Examiner

__all__ = ["Examiner", "Finding", "Report"]
