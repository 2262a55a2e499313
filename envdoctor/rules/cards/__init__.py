"""Cards: what they are, in which state, which of them is used."""
