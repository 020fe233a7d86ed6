"""Ids in paths and bodies."""

from gateway.heketi.http import Request
from gateway.heketi.texts import refusals
from services.common.ids import is_id


def known_form(request: Request) -> str:
    """The id in the path, where objects may have it.

    Raises:
        Refused: No object can have such an id: Heketi's route takes any hex number, but finds only its own form.
    """
    if not is_id(request.target_id):
        raise refusals.unknown_id()
    return request.target_id
