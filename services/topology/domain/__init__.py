"""The rules of the topology, pure: no I/O, no framework, sizes in bytes."""
