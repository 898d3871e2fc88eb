"""What runs on a machine: the keeper, and the node with its containers and builds. Nothing here decides."""
