"""Placement of volumes on devices."""
