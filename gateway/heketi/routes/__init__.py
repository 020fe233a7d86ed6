"""The routes of the dialect, one module per kind of object. A new one adds its ROUTES to the table here."""

from gateway.heketi.router import Route
from gateway.heketi.routes import clusters, devices, nodes, operations, queue, volumes

TABLE: tuple[Route, ...] = (
    *clusters.ROUTES,
    *nodes.ROUTES,
    *devices.ROUTES,
    *volumes.ROUTES,
    *operations.ROUTES,
    *queue.ROUTES,
)
