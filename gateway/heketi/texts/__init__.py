"""All texts of the dialect, and the one mapping from our errors to Heketi's statuses and texts. Pure.

Heketi's text always comes first; where we know more, our explanation follows on further lines.
"""
