"""CUDA toolkits and cuDNN."""
