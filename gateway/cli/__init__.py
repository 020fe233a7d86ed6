"""The command lines: `brickyard` for people."""
