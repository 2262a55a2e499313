"""The NVIDIA driver: absent, torn apart, too old."""
