"""The wire of ComfyUI and its evidence: typed messages, the node catalogue, recordings and how they are compared."""
