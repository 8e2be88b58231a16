"""Metrics over a folder of photos, by one process or several: which photos, what rows, what they say in the mean."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
