"""The gRPC face for operators: the same use cases as the REST dialect."""
