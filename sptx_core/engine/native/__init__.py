"""The path `native`: what `shared` does, its costly parts compiled for processors with AVX-512.

`library` has the compiled functions and says where they can be used, `layers` and `encoding` what is made of them.
"""
