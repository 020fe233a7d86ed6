"""The comparison of records and nodes, and what is to be done about it. Pure: values in, values out, no I/O."""
