"""Heketi's database as JSON: reading, upgrading and checking a dump, and making one of our records. Pure.

`model` is what a dump says; `parsing` and `rendering` are the ways from and to JSON, `exporting` and `importing` those
from and to the topology's records. `upgrading` and `checking` are what Heketi does at its start and in `db check`.
"""
