"""How images are built on a node: bases, steps, layers."""
