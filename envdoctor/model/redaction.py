"""Take out of a text what identifies a person or a machine, and keep what a diagnosis needs."""
