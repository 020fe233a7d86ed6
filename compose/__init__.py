"""A package by name, because Debian's docker-compose has one of the same name, which would win over a folder."""
