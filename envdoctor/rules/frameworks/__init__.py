"""PyTorch, TensorFlow, JAX and what is built for them."""
