"""The REST and operator faces, and the operation engine."""
