"""GlusterFS: command lines and the parsing of its answers. Pure."""
