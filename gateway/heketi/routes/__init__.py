"""The routes of the dialect, one module per kind of object. A new one adds its ROUTES to the table here."""

from gateway.heketi.router import Route
from gateway.heketi.routes import block_volumes, bricks, clusters, devices, nodes, operations, queue, server, volumes

TABLE: tuple[Route, ...] = (
    *clusters.ROUTES,
    *nodes.ROUTES,
    *devices.ROUTES,
    *volumes.ROUTES,
    *block_volumes.ROUTES,
    *bricks.ROUTES,
    *operations.ROUTES,
    *queue.ROUTES,
    *server.ROUTES,
)
