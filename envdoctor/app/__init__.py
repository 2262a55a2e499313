"""App: the only wiring. Each function here is one step of the flow, from a host to a text's ingredients."""
