"""What only Windows, WSL or macOS has."""
