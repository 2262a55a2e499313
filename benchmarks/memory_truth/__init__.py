"""Rows of true peak memory, made by torch itself without a GPU: in benchmarks/, `PYTHON -m memory_truth --help`.

PYTHON is an interpreter with torch (the CPU wheel is enough), transformers, peft and torchvision, and g++ on the PATH.
"""
