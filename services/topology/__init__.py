"""The topology: the only owner of state. Clusters, nodes, devices, bricks, volumes and operations, in SQL."""
