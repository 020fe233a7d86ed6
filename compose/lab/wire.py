"""The frames of the exec channel, spoken by the host and by the small server in each node.

A frame is one letter, the length of its payload (4 bytes, big endian), and the payload. The client sends one REQUEST
(or PING), then STDIN frames and a STDIN_END. The node answers with STDOUT and STDERR frames and, last, one of EXIT
(the exit code as 4 bytes), FAILED or DETACHED (JSON). A client that goes away ends the command.

Loaded by init in the nodes, where each import costs time: nothing but struct is imported.
"""

from __future__ import annotations

import struct

REQUEST, PING = b"Q", b"P"
STDIN, STDIN_END = b"I", b"E"
STDOUT, STDERR = b"O", b"R"
EXIT, FAILED, DETACHED, PONG = b"X", b"F", b"D", b"G"

HEADER = struct.Struct("!cI")
NUMBER = struct.Struct("!i")
MAX_PAYLOAD_BYTES = 1 << 20
CHUNK_BYTES = 1 << 16


class FrameError(Exception):
    """The other side does not speak this protocol."""


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    """One frame as bytes.

    Raises:
        FrameError: the payload is larger than 1 MiB.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise FrameError(f"a frame of {len(payload)} bytes is too large")
    return HEADER.pack(kind, len(payload)) + payload


class FrameReader:
    """Cuts a stream of bytes into frames, however it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Frames that are complete with these bytes, as (kind, payload).

        Raises:
            FrameError: a frame says it is larger than 1 MiB.
        """
        self._buffer += data
        frames = []
        while len(self._buffer) >= HEADER.size:
            kind, length = HEADER.unpack_from(self._buffer)
            if length > MAX_PAYLOAD_BYTES:
                raise FrameError(f"a frame of {length} bytes is too large")
            if len(self._buffer) < HEADER.size + length:
                break
            frames.append((kind, bytes(self._buffer[HEADER.size : HEADER.size + length])))
            del self._buffer[: HEADER.size + length]
        return frames
