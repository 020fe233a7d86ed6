import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.lab import wire

FRAMES = st.lists(st.tuples(st.sampled_from([wire.STDIN, wire.STDOUT, wire.EXIT]), st.binary(max_size=50)), max_size=8)


@given(FRAMES, st.integers(min_value=1, max_value=20))
def test_frames_survive_any_cutting_of_the_stream(frames: list[tuple[bytes, bytes]], step: int) -> None:
    stream = b"".join(wire.frame(kind, payload) for kind, payload in frames)
    reader = wire.FrameReader()
    got = [frame for start in range(0, len(stream), step) for frame in reader.feed(stream[start : start + step])]
    assert got == frames


def test_a_frame_that_is_too_large_is_refused_on_both_sides() -> None:
    with pytest.raises(wire.FrameError):
        wire.frame(wire.STDIN, bytes(wire.MAX_PAYLOAD_BYTES + 1))
    with pytest.raises(wire.FrameError):
        wire.FrameReader().feed(wire.HEADER.pack(wire.STDIN, wire.MAX_PAYLOAD_BYTES + 1))
