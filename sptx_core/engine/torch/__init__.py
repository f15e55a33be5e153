"""The path `shared`: each base of a stretch encoded once, then the attention layers, by PyTorch's operators.

`encoder` has the convolutional part, `layers` the attention and feed-forward layers, `operators` the few operations
that cost time. (Within this package `import torch` is PyTorch: imports are absolute.)
"""
