"""What the gateway can do, for both of its faces. The port is in `port`, the implementation beside it by subject."""

from gateway.usecases.port import NewBlockVolume, NewDevice, NewNode, NewVolume, UseCases

__all__ = ["NewBlockVolume", "NewDevice", "NewNode", "NewVolume", "UseCases"]
