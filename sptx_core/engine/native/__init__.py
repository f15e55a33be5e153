"""The path `native`: the same work as `shared`, with its costly parts compiled for processors with AVX-512.

`library` has the compiled functions and says where they can be used; `encoder` and `layers` call them.
"""
