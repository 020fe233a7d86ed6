"""The REST face: Heketi's dialect over the gateway's use cases. KiB and GiB exist only in here."""
