"""Rules that judge the lines of a pasted report; loaded only where there are some."""
