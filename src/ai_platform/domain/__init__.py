"""The nouns and errors every room speaks: no input or output, no framework, stdlib and msgspec only.

Bottom layer: imports nothing of the platform. Import from the submodules (`domain.call`, `domain.errors`, ...).
"""
