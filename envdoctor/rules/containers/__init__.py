"""Docker, Podman and what a container is given."""
