"""Rules about a person's own files: what a Dockerfile, environment.yml or requirements.txt would give on a machine."""
