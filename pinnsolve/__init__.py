"""pinnsolve: physics-informed neural networks with an audit of their derivatives."""
