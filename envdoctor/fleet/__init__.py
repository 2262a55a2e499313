"""Fleet: the same questions asked of many machines."""
