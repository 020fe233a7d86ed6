"""LVM: command lines and the parsing of its reports. Pure."""
