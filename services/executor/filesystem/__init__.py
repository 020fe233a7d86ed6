"""XFS, signatures and the mount table file: command lines and parsing. Pure."""
